"""Definitions put together by name, with what they use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from feature_store.definitions import (
    Definition,
    FeatureService,
    FeatureView,
    OnDemandFeatureView,
    View,
)
from feature_store.fields import Entity
from feature_store.sources import Source
from learnloop.errors import UsageError, closest

Named = TypeVar("Named", Entity, Source, View, FeatureService)


@dataclass(frozen=True)
class Definitions:
    """Everything defined, by name.

    Args:
        entities: What features are about.
        sources: Where rows come from.
        views: Views, stored and on demand.
        services: Features of models.
    """

    entities: Mapping[str, Entity]
    sources: Mapping[str, Source]
    views: Mapping[str, View]
    services: Mapping[str, FeatureService]

    @property
    def stored_views(self) -> dict[str, FeatureView]:
        """The views that have rows."""
        return {n: view for n, view in self.views.items() if isinstance(view, FeatureView)}

    def view(self, name: str) -> View:
        """Look up a view.

        Args:
            name: The view's name.

        Raises:
            UsageError: There is none of this name.
        """
        return _look_up(name, self.views, "feature view")

    def stored_view(self, name: str) -> FeatureView:
        """Look up a view that has rows.

        Args:
            name: The view's name.

        Raises:
            UsageError: There is none of this name, or it is computed on demand.
        """
        found = self.view(name)
        if not isinstance(found, FeatureView):
            raise UsageError(
                f"'{name}' is computed on demand and has no rows.",
                where="feature views",
                expected=closest(name, self.stored_views),
                received=repr(name),
            )
        return found

    def service(self, name: str) -> FeatureService:
        """Look up a service.

        Args:
            name: The service's name.

        Raises:
            UsageError: There is none of this name.
        """
        return _look_up(name, self.services, "feature service")


def gather(found: Iterable[Definition]) -> Definitions:
    """Put definitions together, with the entities and sources they use.

    Args:
        found: Views and services; those that a service or an on-demand view uses come with it.

    Returns:
        Everything, sorted by name.

    Raises:
        UsageError: Two different definitions of one kind have one name.
    """
    views: dict[str, View] = {}
    services: dict[str, FeatureService] = {}
    for definition in found:
        if isinstance(definition, FeatureService):
            _add(services, definition, "feature service")
            for chosen in definition.projections:
                _add_view(views, chosen.view)
        else:
            _add_view(views, definition)
    entities: dict[str, Entity] = {}
    sources: dict[str, Source] = {}
    for view in views.values():
        if isinstance(view, FeatureView):
            _add(sources, view.source, "source")
            for entity in view.entities:
                _add(entities, entity, "entity")
    return Definitions(
        dict(sorted(entities.items())),
        dict(sorted(sources.items())),
        dict(sorted(views.items())),
        dict(sorted(services.items())),
    )


def _add_view(views: dict[str, View], view: View) -> None:
    _add(views, view, "feature view")
    if isinstance(view, OnDemandFeatureView):
        for chosen in view.projections:
            _add_view(views, chosen.view)


def _add(known: dict[str, Named], definition: Named, kind: str) -> None:
    earlier = known.setdefault(definition.name, definition)
    if earlier != definition:
        raise UsageError(
            f"Two different definitions have one name, '{definition.name}'.",
            where=f"{kind} '{definition.name}'",
            expected="a name for each",
            received="another definition of that name",
        )


def _look_up(name: str, known: Mapping[str, Named], kind: str) -> Named:
    if name not in known:
        raise UsageError(
            f"There is no {kind} '{name}'.",
            where=f"{kind}s",
            expected=closest(name, known),
            received=repr(name),
            next="learnloop features list",
        )
    return known[name]
