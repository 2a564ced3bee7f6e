"""What authors write: feature views, on-demand views and services, as frozen values.

A definition is checked when it is made, so that a mistake is told where it was written. Names and
verbs are those that Feast's users know. What is applied, and which version it has, is the
registry's (``registry.py``).

    learner = Entity("learner", (Field("learner", FeatureType.INT64, Sensitivity.IDENTIFIER),))

    learner_activity = FeatureView(
        "learner_activity",
        entities=(learner,),
        schema=(Field("clicks", FeatureType.INT64, Sensitivity.BEHAVIOURAL),),
        source=ParquetSource("activity", "data/activity.parquet", "day", "loaded_at"),
        ttl=timedelta(days=30),
        owner="learning-analytics",
        purposes=("learner_support",),
    )
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from feature_store.fields import Entity, Field, check_distinct, check_name
from feature_store.sources import Source, StoredSource, stored_source
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    ColumnsFunction = Callable[
        [Mapping[str, pa.Array]], Mapping[str, pa.Array | np.ndarray[Any, Any]]
    ]
"""Takes columns by name, gives the columns of the schema by name, of the same length."""

NO_TAGS: Mapping[str, str] = {}


@dataclass(frozen=True)
class FeatureView:
    """Features of one grain from one source.

    Args:
        name: The view's name.
        entities: What the rows are about; the join keys of all of them together are the key.
        schema: The features, without join keys and times.
        source: Where the rows are.
        ttl: How long a value holds after its event time, both ends included; None for ever.
        owner: Who answers for it.
        description: One sentence for the catalogue.
        tags: Words to find it by.
        purposes: What its sensitive fields may be read for.
        online: Whether it is materialised to the online store.

    Raises:
        UsageError: The definition contradicts itself.
    """

    name: str
    entities: tuple[Entity, ...]
    schema: tuple[Field, ...]
    source: Source
    ttl: timedelta | None = None
    owner: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
    purposes: tuple[str, ...] = ()
    online: bool = True

    def __post_init__(self) -> None:
        check_name(self.name, "feature view")
        where = f"feature view '{self.name}'"
        for name in ("entities", "schema", "purposes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.entities or not self.schema:
            missing = "schema" if self.entities else "entities"
            raise UsageError(
                "A feature view needs entities and a schema.",
                where=f"{where}, {missing}",
                expected="at least one",
                received="none",
            )
        check_distinct((*self.key_names, *self.feature_names), f"{where}, keys and schema")
        if self.ttl is not None and self.ttl <= timedelta(0):
            raise UsageError(
                "A feature must hold for some time.",
                where=f"{where}, ttl",
                expected="more than nothing, or None for ever",
                received=repr(self.ttl),
            )
        _check_times_apart(self)
        for purpose in self.purposes:
            check_name(purpose, "purpose")

    def __getitem__(self, names: list[str] | tuple[str, ...]) -> FeatureProjection:
        """Choose features of this view: ``view[["clicks", "active_days"]]``."""
        return FeatureProjection(self, tuple(names))

    @property
    def join_keys(self) -> tuple[Field, ...]:
        """The join keys of all entities, in order."""
        return tuple(key for entity in self.entities for key in entity.join_keys)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names of the join keys, in order."""
        return tuple(key.name for key in self.join_keys)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the features, in order."""
        return tuple(feature.name for feature in self.schema)

    @property
    def stored_source(self) -> StoredSource:
        """The source whose files an offline read opens."""
        return stored_source(self.source)

    def field(self, name: str) -> Field:
        """Look up a feature.

        Args:
            name: The feature's name.

        Raises:
            UsageError: The view has none of this name.
        """
        return _find_field(self.schema, name, f"feature view '{self.name}'")


@dataclass(frozen=True)
class RequestSource:
    """Columns that only the caller knows when they ask.

    Args:
        name: The source's name.
        schema: The columns: expected in the entity rows.

    Raises:
        UsageError: There is no column, or one twice.
    """

    name: str
    schema: tuple[Field, ...]

    def __post_init__(self) -> None:
        check_name(self.name, "source")
        object.__setattr__(self, "schema", tuple(self.schema))
        if not self.schema:
            raise UsageError(
                "A request source needs a schema.",
                where=f"source '{self.name}'",
                expected="at least one Field",
                received="none",
            )
        check_distinct((column.name for column in self.schema), f"source '{self.name}', schema")


@dataclass(frozen=True)
class FeatureProjection:
    """Some features of a view, in the order asked for.

    Args:
        view: The view, stored or on demand.
        names: The features.

    Raises:
        UsageError: The view has none of such a name, or one is asked for twice.
    """

    view: FeatureView | OnDemandFeatureView
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_distinct(self.names, f"feature view '{self.view.name}', features chosen")
        for name in self.names:
            self.view.field(name)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields chosen."""
        return tuple(self.view.field(name) for name in self.names)


@dataclass(frozen=True)
class OnDemandFeatureView:
    """Features computed when they are asked for, by one function in training and in serving.

    Made with :func:`on_demand_feature_view`.

    Args:
        name: The view's name.
        sources: Views, features of views, and columns of the request that the function is given.
        schema: What the function gives.
        function: The computation: columns in, columns out, a row of one being the row of the other.
        owner: Who answers for it.
        description: One sentence for the catalogue.
        tags: Words to find it by.

    Raises:
        UsageError: The definition contradicts itself.
    """

    name: str
    sources: tuple[FeatureView | FeatureProjection | RequestSource, ...]
    schema: tuple[Field, ...]
    function: ColumnsFunction
    owner: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)

    def __post_init__(self) -> None:
        check_name(self.name, "feature view")
        where = f"on-demand feature view '{self.name}'"
        for name in ("sources", "schema"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.sources or not self.schema:
            missing = "schema" if self.sources else "sources"
            raise UsageError(
                "An on-demand feature view needs sources and a schema.",
                where=f"{where}, {missing}",
                expected="at least one",
                received="none",
            )
        for source in self.sources:
            stored = source.view if isinstance(source, FeatureProjection) else source
            if not isinstance(stored, FeatureView | RequestSource):
                raise UsageError(
                    "An on-demand feature view is computed from stored features and the request.",
                    where=f"{where}, sources",
                    expected="a FeatureView, features of one, or a RequestSource",
                    received=f"'{stored.name}', computed on demand itself",
                )
        check_distinct(self.input_names, f"{where}, sources")
        check_distinct(self.feature_names, f"{where}, schema")

    def __getitem__(self, names: list[str] | tuple[str, ...]) -> FeatureProjection:
        """Choose features of this view."""
        return FeatureProjection(self, tuple(names))

    @property
    def projections(self) -> tuple[FeatureProjection, ...]:
        """The stored features that the function is given."""
        return tuple(
            project(source) for source in self.sources if not isinstance(source, RequestSource)
        )

    @property
    def request_fields(self) -> tuple[Field, ...]:
        """The columns of the request that the function is given."""
        return tuple(
            column
            for source in self.sources
            if isinstance(source, RequestSource)
            for column in source.schema
        )

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of all columns that the function is given."""
        stored = (name for projection in self.projections for name in projection.names)
        return (*stored, *(column.name for column in self.request_fields))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the features, in order."""
        return tuple(feature.name for feature in self.schema)

    def field(self, name: str) -> Field:
        """Look up a feature.

        Args:
            name: The feature's name.

        Raises:
            UsageError: The view has none of this name.
        """
        return _find_field(self.schema, name, f"on-demand feature view '{self.name}'")


def on_demand_feature_view(
    *,
    sources: tuple[FeatureView | FeatureProjection | RequestSource, ...],
    schema: tuple[Field, ...],
    owner: str = "",
    description: str = "",
    tags: Mapping[str, str] = NO_TAGS,
) -> Callable[[ColumnsFunction], OnDemandFeatureView]:
    """Define features by a function of other features; the function's name is the view's.

    Args:
        sources: Views, features of views, and columns of the request that the function is given.
        schema: What the function gives.
        owner: Who answers for it.
        description: One sentence for the catalogue; the first line of the docstring if empty.
        tags: Words to find it by.

    Returns:
        A decorator.
    """

    def define(function: ColumnsFunction) -> OnDemandFeatureView:
        told = description or (function.__doc__ or "").strip().partition("\n")[0]
        return OnDemandFeatureView(
            function.__name__, sources, schema, function, owner, told, dict(tags)
        )

    return define


@dataclass(frozen=True)
class FeatureService:
    """The features of one model, under one name, read for one purpose.

    Args:
        name: The service's name.
        features: Views, or features of views.
        purpose: What they are read for; every view with sensitive fields must permit it.
        owner: Who answers for it.
        description: One sentence for the catalogue.
        tags: Words to find it by.

    Raises:
        UsageError: Two features have one name, or a view does not permit the purpose.
    """

    name: str
    features: tuple[FeatureView | OnDemandFeatureView | FeatureProjection, ...]
    purpose: str = ""
    owner: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)

    def __post_init__(self) -> None:
        check_name(self.name, "feature service")
        object.__setattr__(self, "features", tuple(self.features))
        where = f"feature service '{self.name}', features"
        if not self.features:
            raise UsageError(
                "A feature service needs features.",
                where=where,
                expected="at least one view, or features of one",
                received="none",
            )
        if self.purpose:
            check_name(self.purpose, "purpose")
        check_distinct((chosen.view.name for chosen in self.projections), where)
        check_distinct((name for chosen in self.projections for name in chosen.names), where)

    @property
    def projections(self) -> tuple[FeatureProjection, ...]:
        """The features, view by view."""
        return tuple(project(chosen) for chosen in self.features)


View = FeatureView | OnDemandFeatureView
Definition = FeatureView | OnDemandFeatureView | FeatureService


def project(chosen: FeatureView | OnDemandFeatureView | FeatureProjection) -> FeatureProjection:
    """Take a view as all of its features.

    Args:
        chosen: A view, or features of one.

    Returns:
        The features.
    """
    if isinstance(chosen, FeatureProjection):
        return chosen
    return FeatureProjection(chosen, chosen.feature_names)


def _find_field(schema: tuple[Field, ...], name: str, where: str) -> Field:
    for found in schema:
        if found.name == name:
            return found
    raise UsageError(
        f"There is no feature '{name}'.",
        where=where,
        expected=closest(name, [one.name for one in schema]),
        received=repr(name),
    )


def _check_times_apart(view: FeatureView) -> None:
    """Refuse a feature or key that is also one of the source's times."""
    source = view.stored_source
    times = {source.timestamp_field, source.created_timestamp_column}
    for name in (*view.key_names, *view.feature_names):
        if name in times:
            raise UsageError(
                f"'{name}' is a time of the source and cannot be a feature too.",
                where=f"feature view '{view.name}', schema",
                expected=f"other columns than {', '.join(sorted(filter(None, times)))}",
                received=repr(name),
            )
