"""Views and services as a person looks them up: what they hold, and whether they are in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feature_store.definitions import FeatureProjection, FeatureService, FeatureView, View
from feature_store.documents import Document, service_document, view_document
from feature_store.registry import Registry
from feature_store.sources import PushSource
from feature_store.store import FeatureStore
from learnloop.errors import UsageError, closest


def list_definitions(store: FeatureStore) -> list[dict[str, Any]]:
    """List views, then services, by name.

    Args:
        store: The feature store.

    Returns:
        A document for each.
    """
    defined = store.definitions
    return [
        describe_definition(store, name) for name in (*defined.views, *sorted(defined.services))
    ]


def describe_definition(store: FeatureStore, name: str) -> dict[str, Any]:
    """Describe a view or a service.

    Args:
        store: The feature store.
        name: Its name.

    Returns:
        What it is, and its features.

    Raises:
        UsageError: There is none of this name.
    """
    defined = store.definitions
    registry = store.registry
    if name in defined.views:
        return _describe_view(defined.views[name], registry)
    if name in defined.services:
        return _describe_service(defined.services[name], registry)
    raise UsageError(
        f"There is no feature view or service '{name}'.",
        where="feature views and services",
        expected=closest(name, {**defined.views, **defined.services}),
        received=repr(name),
        next="learnloop features list",
    )


def _describe_view(view: View, registry: Registry) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    if isinstance(view, FeatureView):
        source = view.stored_source
        stored = {
            "entities": [entity.name for entity in view.entities],
            "join keys": [f"{key.name} ({key.dtype})" for key in view.join_keys],
            "source": f"{source.name}: {source.path}",
            "happened": source.timestamp_field,
            "recorded": source.created_timestamp_column or "as it happens",
            "pushed by": view.source.name if isinstance(view.source, PushSource) else "",
            "ttl": "for ever" if view.ttl is None else str(view.ttl),
            "online": "yes" if view.online else "no",
            "purposes": list(view.purposes),
        }
    else:
        stored = {
            "computed from": list(view.input_names),
            "function": f"{view.function.__module__}:{view.function.__qualname__}",
        }
    kind = "feature view" if isinstance(view, FeatureView) else "on-demand feature view"
    return {
        "name": view.name,
        "kind": kind,
        "description": view.description,
        **_standing("feature view", view.name, view_document(view), registry),
        **stored,
        "owner": view.owner,
        "tags": dict(view.tags),
        "features": _features(FeatureProjection(view, view.feature_names)),
    }


def _describe_service(service: FeatureService, registry: Registry) -> dict[str, Any]:
    return {
        "name": service.name,
        "kind": "feature service",
        "description": service.description,
        **_standing("feature service", service.name, service_document(service), registry),
        "purpose": service.purpose,
        "owner": service.owner,
        "tags": dict(service.tags),
        "features": [row for chosen in service.projections for row in _features(chosen)],
    }


def _features(chosen: FeatureProjection) -> list[Mapping[str, str]]:
    return [
        {
            "name": field.name,
            "dtype": str(field.dtype),
            "sensitivity": str(field.sensitivity),
            "view": chosen.view.name,
            "description": field.description,
        }
        for field in chosen.fields
    ]


def _standing(kind: str, name: str, document: Document, registry: Registry) -> dict[str, Any]:
    applied = registry.document(kind, name)
    if applied is None:
        return {"version": 0, "state": "not applied", "applied": ""}
    state = "applied" if applied == document else "changed since"
    return {
        "version": registry.version(kind, name),
        "state": state,
        "applied": registry.applied(kind, name),
    }
