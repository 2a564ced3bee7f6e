"""Definitions as JSON: what the registry keeps, compares and shows.

A reference to another definition is its name. An on-demand view's function is the name of its
module and itself, with a digest of the code of that module and of the project's modules it imports:
any change there may change what it computes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from feature_store.definitions import (
    FeatureProjection,
    FeatureService,
    FeatureView,
    OnDemandFeatureView,
    RequestSource,
)
from feature_store.fields import Entity, Field
from feature_store.sources import EventSource, ParquetSource, PushSource, Source

Document = Mapping[str, Any]


def entity_document(entity: Entity) -> Document:
    """Write an entity."""
    return {
        "join_keys": [field_document(key) for key in entity.join_keys],
        "description": entity.description,
    }


def source_document(source: Source) -> Document:
    """Write a source."""
    match source:
        case ParquetSource():
            return {"kind": "parquet", **_place(source)}
        case EventSource():
            return {"kind": "events", **_place(source), "event_kind": source.kind}
        case PushSource():
            batch = {"name": source.batch_source.name, **_place(source.batch_source)}
            return {"kind": "push", "batch_source": batch}


def view_document(view: FeatureView | OnDemandFeatureView) -> Document:
    """Write a view."""
    common = {
        "schema": [field_document(column) for column in view.schema],
        "owner": view.owner,
        "description": view.description,
        "tags": dict(view.tags),
    }
    if isinstance(view, FeatureView):
        return {
            "kind": "stored",
            "entities": [entity.name for entity in view.entities],
            "source": view.source.name,
            "ttl_seconds": view.ttl.total_seconds() if view.ttl else None,
            "purposes": list(view.purposes),
            "online": view.online,
            **common,
        }
    return {
        "kind": "on_demand",
        "sources": [_input_document(source) for source in view.sources],
        "function": f"{view.function.__module__}:{view.function.__qualname__}",
        "code": _code_digest(view.function.__module__),
        **common,
    }


def service_document(service: FeatureService) -> Document:
    """Write a service."""
    return {
        "features": [_projection_document(chosen) for chosen in service.projections],
        "purpose": service.purpose,
        "owner": service.owner,
        "description": service.description,
        "tags": dict(service.tags),
    }


def field_document(column: Field) -> Document:
    """Write a field."""
    return {
        "name": column.name,
        "dtype": str(column.dtype),
        "sensitivity": str(column.sensitivity),
        "description": column.description,
        "formerly": list(column.formerly),
    }


def describe_difference(earlier: Document, later: Document) -> list[str]:
    """Say what differs between two documents of one definition, a line each.

    Args:
        earlier: The document applied.
        later: The document now.

    Returns:
        Lines as ``ttl: 30 days -> 60 days`` and ``schema: + clicks (int64)``.
    """
    lines = []
    for name in sorted({*earlier, *later}):
        before, after = earlier.get(name), later.get(name)
        if before == after:
            continue
        if name in ("schema", "join_keys"):
            lines += [f"{name}: {line}" for line in _describe_fields(before or [], after or [])]
        elif name == "code":
            lines.append("function: its code changed")
        else:
            lines.append(f"{_said(name)}: {_value(name, before)} -> {_value(name, after)}")
    return lines


def _describe_fields(before: list[Document], after: list[Document]) -> list[str]:
    earlier = {column["name"]: column for column in before}
    later = {column["name"]: column for column in after}
    renamed = {
        former: column["name"]
        for column in after
        for former in column["formerly"]
        if former in earlier and former not in later and column["name"] not in earlier
    }
    lines = []
    for name, column in later.items():
        if name in renamed.values():
            continue
        if name not in earlier:
            lines.append(f"+ {name} ({column['dtype']})")
        else:
            lines += [
                f"{name}, {detail}: {_value(detail, earlier[name][detail])}"
                f" -> {_value(detail, column[detail])}"
                for detail in column
                if earlier[name][detail] != column[detail]
            ]
    lines += [f"{former} -> {name}, renamed" for former, name in renamed.items()]
    lines += [f"- {name}" for name in earlier if name not in later and name not in renamed]
    return lines or ["in another order"]


def _said(name: str) -> str:
    return {"ttl_seconds": "ttl"}.get(name, name)


def _value(name: str, value: object) -> str:
    if name == "ttl_seconds":
        return "for ever" if value is None else str(timedelta(seconds=float(str(value))))
    if isinstance(value, str):
        return value or "none"
    return "none" if value is None or value in ([], {}) else json.dumps(value, sort_keys=True)


def _place(source: ParquetSource | EventSource) -> Document:
    return {
        "path": source.path,
        "timestamp_field": source.timestamp_field,
        "created_timestamp_column": source.created_timestamp_column,
    }


def _input_document(source: FeatureView | FeatureProjection | RequestSource) -> Document:
    if isinstance(source, RequestSource):
        return {
            "request": source.name,
            "schema": [field_document(column) for column in source.schema],
        }
    if isinstance(source, FeatureProjection):
        return _projection_document(source)
    return {"view": source.name, "features": list(source.feature_names)}


def _projection_document(chosen: FeatureProjection) -> Document:
    return {"view": chosen.view.name, "features": list(chosen.names)}


def _code_digest(module: str) -> str:
    from learnloop.fingerprint import import_closure

    own = __name__.partition(".")[0] + "."
    code = {
        name: digest
        for name, digest in import_closure(module).modules.items()
        if not f"{name}.".startswith(own)
    }
    return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()
