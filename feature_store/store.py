"""The feature store as one object: what authors, pipelines and servers call.

It knows the definitions of the project and what is applied of them. Reading takes definitions that
are applied as they are: so training and serving mean the same by a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from feature_store.asking import Asked, Request, resolve
from feature_store.definitions import FeatureService, FeatureView, View
from feature_store.discovery import find_definitions
from feature_store.documents import service_document, view_document
from feature_store.gathering import Definitions
from feature_store.registry import (
    Change,
    Registry,
    apply_definitions,
    plan_changes,
    read_registry,
    registry_file,
)
from learnloop.errors import UsageError
from learnloop.settings import Settings, load_settings

if TYPE_CHECKING:
    import pyarrow as pa

    from feature_store.materialise import Materialized
    from feature_store.offline.history import HistoricalFeatures
    from feature_store.offline.joining import Cut
    from feature_store.online.keys import Pseudonyms
    from feature_store.online.reading import OnlineFeatures, OnlineReader
    from feature_store.online.store import OnlineStore
    from feature_store.push import Pushed


class NotApplied(UsageError):
    """A definition is not the one in force."""


class FeatureStore:
    """The features of a project.

    Args:
        settings: Where things are; read from the environment and the settings file when None.
        definitions: What is defined; found in the packages of the setting ``features`` when None.
    """

    def __init__(
        self, settings: Settings | None = None, definitions: Definitions | None = None
    ) -> None:
        self.settings = settings or load_settings()
        self._given = definitions

    @cached_property
    def definitions(self) -> Definitions:
        """What is defined in the code."""
        return self._given or find_definitions(self.settings)

    @property
    def registry(self) -> Registry:
        """What is applied now."""
        return read_registry(registry_file(self.settings))

    @cached_property
    def online_stores(self) -> tuple[OnlineStore, ...]:
        """The online store, then the one that is read when it fails."""
        from feature_store.online.store import open_online_stores

        return open_online_stores(self.settings)

    @property
    def pseudonyms(self) -> Pseudonyms:
        """How the online stores' keys hide the values of join keys."""
        return self.every_pseudonyms[0]

    @cached_property
    def every_pseudonyms(self) -> tuple[Pseudonyms, ...]:
        """The same under every key there is, the one in use first."""
        from feature_store.online.keys import pseudonyms_of
        from feature_store.pseudonyms import load_keyring_if_any

        return pseudonyms_of(load_keyring_if_any())

    def plan(self) -> list[Change]:
        """Say what :meth:`apply` would change.

        Returns:
            What would be added, changed and removed.

        Raises:
            UsageError: The definitions cannot be applied.
        """
        return plan_changes(self.definitions, self.registry)

    def apply(self) -> list[Change]:
        """Make what is applied equal to what is defined.

        Returns:
            What changed.

        Raises:
            UsageError: The definitions cannot be applied.
            LearnLoopError: The registry cannot be written.
        """
        return apply_definitions(self.definitions, registry_file(self.settings))

    def ask(
        self, features: Request | str, *, purpose: str = "", full_feature_names: bool = False
    ) -> Asked:
        """Make a request definite: everything that can be refused is refused here.

        A server asks once and reads often.

        Args:
            features: A service or its name, or a list of views, features of views,
                ``"view:feature"`` and ``"view"``.
            purpose: What listed features are for; a service has its own.
            full_feature_names: Whether the answer's columns are named ``view__feature``.

        Returns:
            What is asked for.

        Raises:
            UsageError: A name is unknown.
            NotApplied: A definition is not the one in force.
            PurposeRefused: A sensitive feature is not to be read for this purpose.
        """
        asked = resolve(
            features, self.definitions, purpose=purpose, full_feature_names=full_feature_names
        )
        registry = self.registry
        views: tuple[View, ...] = (*asked.stored_views, *asked.on_demand)
        for view in views:
            self._check_applied("feature view", view.name, view_document(view), registry)
        if asked.service:
            service = features if isinstance(features, FeatureService) else None
            document = service_document(service or self.definitions.service(asked.service))
            self._check_applied("feature service", asked.service, document, registry)
        return asked

    def get_historical_features(
        self,
        entity_rows: Any,
        features: Request | str,
        *,
        purpose: str = "",
        full_feature_names: bool = False,
        cut: Cut | None = None,
    ) -> HistoricalFeatures:
        """Look up features as they were known at moments of the past.

        Args:
            entity_rows: The moments: join keys, ``event_timestamp`` and the columns that on-demand
                views are given. An Arrow table, a pandas frame or the path of a Parquet file.
            features: A service or its name, or a list of views, features of views,
                ``"view:feature"`` and ``"view"``.
            purpose: What listed features are for; a service has its own.
            full_feature_names: Whether the answer's columns are named ``view__feature``.
            cut: ``Cut.KNOWLEDGE`` unless ``Cut.EVENT`` is asked for, which lets values through
                that were recorded after the moment asked about.

        Returns:
            The entity rows, every one and in order, with the features: as an Arrow table, a stream
            of record batches or a pandas frame.

        Raises:
            UsageError: The request, the entity rows or a source do not fit.
            PurposeRefused: A sensitive feature is not to be read for this purpose.
        """
        from feature_store.offline.history import HistoricalFeatures
        from feature_store.offline.joining import Cut

        asked = self.ask(features, purpose=purpose, full_feature_names=full_feature_names)
        return HistoricalFeatures(asked, entity_rows, cut or Cut.KNOWLEDGE)

    def get_online_features(
        self,
        features: Request | str,
        entity_rows: pa.Table | Sequence[Mapping[str, Any]],
        *,
        purpose: str = "",
        full_feature_names: bool = False,
    ) -> OnlineFeatures:
        """Look up the features as they are now, from the online store.

        Args:
            features: As for :meth:`get_historical_features`.
            entity_rows: Join keys and the columns that on-demand views are given.
            purpose: What listed features are for; a service has its own.
            full_feature_names: Whether the answer's columns are named ``view__feature``.

        Returns:
            The entity rows, every one and in order, with the features, and what became of each.

        Raises:
            UsageError: The request or the entity rows do not fit.
            PurposeRefused: A sensitive feature is not to be read for this purpose.
            NotMaterialized: The online store holds nothing of a view.
            OnlineStoreUnavailable: The online store does not answer.
        """
        asked = self.ask(features, purpose=purpose, full_feature_names=full_feature_names)
        return self.online_reader(asked).many(entity_rows)

    def online_reader(self, asked: Asked) -> OnlineReader:
        """Make a reader of the online store, which a server keeps.

        Args:
            asked: What :meth:`ask` gave.
        """
        from feature_store.online.reading import OnlineReader

        return OnlineReader(asked, self.online_stores, self.pseudonyms)

    def materialize(
        self, start: datetime | None, end: datetime, views: Sequence[str] = ()
    ) -> list[Materialized]:
        """Write the rows that came to count in a span to the online store.

        Args:
            start: The span's beginning, itself left out; None for the beginning of time.
            end: Its end; nothing recorded later is written.
            views: The views; all that are online if empty.

        Returns:
            What was written, view by view and store by store.
        """
        from feature_store.materialise import materialize

        return materialize(self, self.online_views(views), start, end)

    def materialize_incremental(
        self, end: datetime, views: Sequence[str] = ()
    ) -> list[Materialized]:
        """Write what came since the last time to the online store.

        Args:
            end: Nothing recorded later is written.
            views: The views; all that are online if empty.

        Returns:
            What was written, view by view and store by store.
        """
        from feature_store.materialise import materialize_incremental

        return materialize_incremental(self, self.online_views(views), end)

    def push(self, source: str, rows: pa.Table | Sequence[Mapping[str, Any]]) -> Pushed:
        """Take rows of a push source, online and offline.

        Args:
            source: The push source's name.
            rows: Join keys, features and times, named as in the source.

        Returns:
            What became of them.
        """
        from feature_store.push import push

        return push(self, source, rows)

    def online_views(self, names: Sequence[str] = ()) -> list[FeatureView]:
        """Choose views of the online store, applied as they are.

        Args:
            names: The views; all that are online if empty.

        Returns:
            The views, sorted by name if none was named.

        Raises:
            UsageError: One is unknown, not online or not applied.
        """
        views = [self.definitions.stored_view(name) for name in names] or [
            view for view in self.definitions.stored_views.values() if view.online
        ]
        registry = self.registry
        for view in views:
            if not view.online:
                raise UsageError(
                    f"'{view.name}' is not for the online store.",
                    where=f"feature view '{view.name}'",
                    expected="online=True",
                    received="online=False",
                )
            self._check_applied("feature view", view.name, view_document(view), registry)
        return views

    def _check_applied(
        self, kind: str, name: str, document: Mapping[str, Any], registry: Registry
    ) -> None:
        applied = registry.document(kind, name)
        if applied == document:
            return
        raise NotApplied(
            f"{kind.capitalize()} '{name}' is not applied."
            if applied is None
            else f"{kind.capitalize()} '{name}' has changed since it was applied.",
            where=registry_file(self.settings),
            expected="the definition in the code",
            received="none" if applied is None else f"version {registry.version(kind, name)}",
            next="learnloop features plan, then learnloop features apply",
        )
