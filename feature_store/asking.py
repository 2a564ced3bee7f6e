"""What a caller asks for, made definite before anything is read.

Offline and online resolve the same words the same way: a service, or a list of views, features of
views and ``"view:feature"``. What comes out names every stored feature to read and every on-demand
view to compute, and has passed the check of purpose. Inside the store a feature's column is
``view__feature``, which no other name can be; the answer has the feature's own name unless full
names are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feature_store.definitions import (
    FeatureProjection,
    FeatureService,
    FeatureView,
    OnDemandFeatureView,
    View,
    project,
)
from feature_store.fields import EVENT_TIMESTAMP, Field, Sensitivity
from feature_store.gathering import Definitions
from learnloop.errors import UsageError

Wanted = str | FeatureView | OnDemandFeatureView | FeatureProjection
Request = FeatureService | Sequence[Wanted]


class PurposeRefused(UsageError):
    """A sensitive feature was asked for without a purpose that its view permits."""


@dataclass(frozen=True)
class Column:
    """A column of the answer.

    Args:
        name: Its name in the answer.
        view: The view it comes from.
        field: The feature.
    """

    name: str
    view: View
    field: Field

    @property
    def full_name(self) -> str:
        """Its name inside the store."""
        return full_name(self.view, self.field.name)


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Args:
        columns: The features of the answer, in order.
        stored: What to read, a projection for each view: features of the answer and those that
            on-demand views are given.
        on_demand: What to compute then, in order.
        service: The service's name; empty for features that were listed.
        purpose: What it is for.
    """

    columns: tuple[Column, ...]
    stored: tuple[FeatureProjection, ...]
    on_demand: tuple[OnDemandFeatureView, ...]
    service: str = ""
    purpose: str = ""

    @property
    def stored_views(self) -> tuple[FeatureView, ...]:
        """The views that are read."""
        return tuple(p.view for p in self.stored if isinstance(p.view, FeatureView))

    @property
    def join_keys(self) -> tuple[Field, ...]:
        """The join keys that the entity rows must have."""
        return _distinct_fields(
            (key, f"feature view '{view.name}'")
            for view in self.stored_views
            for key in view.join_keys
        )

    @property
    def request_fields(self) -> tuple[Field, ...]:
        """The further columns that the entity rows must have."""
        return _distinct_fields(
            (column, f"on-demand feature view '{view.name}'")
            for view in self.on_demand
            for column in view.request_fields
        )


def full_name(view: View, feature: str) -> str:
    """Name a feature inside the store.

    Args:
        view: Its view.
        feature: Its name in the view.
    """
    return f"{view.name}__{feature}"


def resolve(
    request: Request | str,
    definitions: Definitions,
    *,
    purpose: str = "",
    full_feature_names: bool = False,
) -> Asked:
    """Make a request definite and check that its purpose is permitted.

    Args:
        request: A service or its name, or a list of views, features of views, ``"view:feature"``
            and ``"view"``.
        definitions: What is defined.
        purpose: What the features are for; a service has its own.
        full_feature_names: Whether the answer's columns are named ``view__feature``.

    Returns:
        What is asked for.

    Raises:
        UsageError: An unknown name, or two columns of one name.
        PurposeRefused: A sensitive feature is not to be read for this purpose.
    """
    service = definitions.service(request) if isinstance(request, str) else request
    if isinstance(service, FeatureService):
        chosen = list(service.projections)
        purpose = _purpose_of(service, purpose)
    else:
        chosen = [_projection(wanted, definitions) for wanted in service]
    if not chosen:
        raise UsageError(
            "No feature is asked for.",
            where="features",
            expected="a feature service, or at least one feature",
            received="none",
        )
    columns = tuple(
        Column(full_name(p.view, f.name) if full_feature_names else f.name, p.view, f)
        for p in chosen
        for f in p.fields
    )
    _check_names(columns)
    on_demand = tuple(
        {p.view.name: p.view for p in chosen if isinstance(p.view, OnDemandFeatureView)}.values()
    )
    asked = Asked(
        columns,
        _stored(chosen, on_demand),
        on_demand,
        service.name if isinstance(service, FeatureService) else "",
        purpose,
    )
    check_purpose(asked)
    _check_inputs(asked)
    return asked


def check_purpose(asked: Asked) -> None:
    """Refuse sensitive features whose views do not permit the purpose.

    Args:
        asked: What is asked for.

    Raises:
        PurposeRefused: The purpose is missing or not permitted.
    """
    for projection in asked.stored:
        view = projection.view
        assert isinstance(view, FeatureView)
        sensitive = [f for f in projection.fields if f.sensitivity is not Sensitivity.NONE]
        if sensitive and asked.purpose not in view.purposes:
            told = ", ".join(f"{f.name} ({f.sensitivity})" for f in sensitive)
            raise PurposeRefused(
                f"Features of '{view.name}' say something about a person and are not to be read "
                + (f"for '{asked.purpose}'." if asked.purpose else "without a purpose."),
                where=told,
                expected=f"one of the purposes {', '.join(view.purposes)}"
                if view.purposes
                else "a purpose, but the view permits none",
                received=asked.purpose or "none",
                next="declare the purpose of the service, or have the view's owner permit it",
            )


def _purpose_of(service: FeatureService, purpose: str) -> str:
    if purpose and purpose != service.purpose:
        raise UsageError(
            "A service is read for its own purpose.",
            where=f"feature service '{service.name}'",
            expected=service.purpose or "no purpose",
            received=purpose,
        )
    return service.purpose


def _projection(wanted: Wanted, definitions: Definitions) -> FeatureProjection:
    if not isinstance(wanted, str):
        return project(wanted)
    view, colon, feature = wanted.partition(":")
    found = definitions.view(view)
    return FeatureProjection(found, (feature,)) if colon else project(found)


def _stored(
    chosen: Sequence[FeatureProjection], on_demand: Sequence[OnDemandFeatureView]
) -> tuple[FeatureProjection, ...]:
    """Put together what is read of each view, each feature once."""
    views: dict[str, FeatureView] = {}
    names: dict[str, dict[str, None]] = {}
    inputs = (projection for view in on_demand for projection in view.projections)
    for projection in (*chosen, *inputs):
        if isinstance(projection.view, FeatureView):
            views[projection.view.name] = projection.view
            names.setdefault(projection.view.name, {}).update(dict.fromkeys(projection.names))
    return tuple(FeatureProjection(view, tuple(names[name])) for name, view in views.items())


def _check_names(columns: Sequence[Column]) -> None:
    seen: dict[str, Column] = {}
    for column in columns:
        other = seen.setdefault(column.name, column)
        if other is not column:
            raise UsageError(
                f"Two columns of the answer have one name, '{column.name}'.",
                where=f"'{other.view.name}:{other.field.name}' and "
                f"'{column.view.name}:{column.field.name}'",
                expected="names that differ",
                received=repr(column.name),
                next="ask with full_feature_names=True, or for one of them",
            )


def _check_inputs(asked: Asked) -> None:
    """Refuse an answer with a feature named as a column that the entity rows must have."""
    given = {EVENT_TIMESTAMP, *(f.name for f in (*asked.join_keys, *asked.request_fields))}
    for column in asked.columns:
        if column.name in given:
            raise UsageError(
                f"A feature and a column of the entity rows have one name, '{column.name}'.",
                where=f"'{column.view.name}:{column.field.name}'",
                expected="names that differ",
                received=repr(column.name),
                next="ask with full_feature_names=True",
            )


def _distinct_fields(given: Iterable[tuple[Field, str]]) -> tuple[Field, ...]:
    found: dict[str, tuple[Field, str]] = {}
    for column, where in given:
        earlier, place = found.setdefault(column.name, (column, where))
        if earlier.dtype is not column.dtype:
            raise UsageError(
                f"'{column.name}' has two types.",
                where=f"{place} and {where}",
                expected=str(earlier.dtype),
                received=str(column.dtype),
            )
    return tuple(column for column, _ in found.values())
