"""What is applied: one JSON document, replaced as a whole.

Applying gives every definition a version, which rises with each change of it. The document of every
version is kept, of removed definitions too, so that a name that comes back goes on counting, and a
feature never takes a type in which values stored under its name would not fit. A reader sees the
document before or after a change, never between; two who apply at once do it one after the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from feature_store.documents import (
    Document,
    describe_difference,
    entity_document,
    service_document,
    source_document,
    view_document,
)
from feature_store.fields import FeatureType
from feature_store.gathering import Definitions
from learnloop.errors import CorruptArtifact, UsageError
from learnloop.settings import Settings
from learnloop.store.local import explain_disk_faults

FORMAT = 1
KINDS = ("entity", "source", "feature view", "feature service")

Action = Literal["added", "changed", "removed"]


@dataclass(frozen=True)
class Change:
    """One difference between what is defined and what is applied.

    Args:
        action: What applying does to the definition.
        kind: One of :data:`KINDS`.
        name: The definition's name.
        details: What changes in it, a line each.
    """

    action: Action
    kind: str
    name: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registry:
    """What is applied at some moment.

    Args:
        objects: By kind and name: ``versions`` (documents, the first of them version 1),
            ``removed`` and ``applied`` (the moment of the latest version).
    """

    objects: Mapping[str, Mapping[str, Document]]

    def document(self, kind: str, name: str) -> Document | None:
        """The document applied, or None if there is none or it was removed."""
        found = self.objects.get(kind, {}).get(name)
        return None if found is None or found["removed"] else found["versions"][-1]

    def version(self, kind: str, name: str) -> int:
        """The version applied, from 1; 0 if there was never one."""
        found = self.objects.get(kind, {}).get(name)
        return 0 if found is None else len(found["versions"])

    def applied(self, kind: str, name: str) -> str:
        """When the version applied was applied, in ISO 8601; empty if there was never one."""
        found = self.objects.get(kind, {}).get(name)
        return "" if found is None else found["applied"]


def registry_file(settings: Settings) -> Path:
    """Name the registry's file.

    Args:
        settings: Names the home folder.
    """
    return settings.home_folder / "features" / "registry.json"


def read_registry(file: Path) -> Registry:
    """Read what is applied.

    Args:
        file: The registry's file; nothing is applied if it is not there.

    Raises:
        CorruptArtifact: The file is not a registry.
    """
    try:
        document = json.loads(file.read_bytes())
        form = document["format"]
        objects = document["objects"]
    except FileNotFoundError:
        return Registry({})
    except (ValueError, KeyError, TypeError) as fault:
        raise CorruptArtifact(
            "The registry of features cannot be read.",
            where=file,
            expected="the JSON document that 'learnloop features apply' writes",
            received=f"{type(fault).__name__}: {fault}",
            next="restore it from a backup; the definitions themselves are in the code",
        ) from None
    if form != FORMAT:
        raise UsageError(
            "The registry of features was written by another version of LearnLoop.",
            where=file,
            expected=f"format {FORMAT}",
            received=f"format {form}",
        )
    return Registry(objects)


def documents_of(definitions: Definitions) -> dict[str, dict[str, Document]]:
    """Write all definitions, by kind and name.

    Args:
        definitions: What is defined.
    """
    return {
        "entity": {n: entity_document(e) for n, e in definitions.entities.items()},
        "source": {n: source_document(s) for n, s in definitions.sources.items()},
        "feature view": {n: view_document(v) for n, v in definitions.views.items()},
        "feature service": {n: service_document(s) for n, s in definitions.services.items()},
    }


def plan_changes(definitions: Definitions, registry: Registry) -> list[Change]:
    """Say what applying would change.

    Args:
        definitions: What is defined.
        registry: What is applied.

    Returns:
        The changes: kind by kind, by name.

    Raises:
        UsageError: A feature changes its type so that earlier values would not fit.
    """
    changes = []
    defined = documents_of(definitions)
    for kind in KINDS:
        for name in sorted({*defined[kind], *registry.objects.get(kind, {})}):
            before, after = registry.document(kind, name), defined[kind].get(name)
            if after is None:
                if before is not None:
                    changes.append(Change("removed", kind, name))
                continue
            if kind == "feature view" and registry.version(kind, name):
                for version in registry.objects[kind][name]["versions"]:
                    _check_types(name, version, after)
            if before is None:
                changes.append(Change("added", kind, name))
            elif before != after:
                details = tuple(describe_difference(before, after))
                changes.append(Change("changed", kind, name, details))
    return changes


def apply_definitions(definitions: Definitions, file: Path) -> list[Change]:
    """Make what is applied equal to what is defined.

    Args:
        definitions: What is defined.
        file: The registry's file.

    Returns:
        What changed.

    Raises:
        UsageError: A feature changes its type so that earlier values would not fit.
        LearnLoopError: The file cannot be written.
    """
    with explain_disk_faults(file), _alone(file):
        registry = read_registry(file)
        changes = plan_changes(definitions, registry)
        if changes:
            _write(file, _changed(registry, changes, documents_of(definitions)))
    return changes


def _changed(
    registry: Registry, changes: list[Change], defined: Mapping[str, Mapping[str, Document]]
) -> dict[str, dict[str, Any]]:
    objects: dict[str, dict[str, Any]] = {
        kind: dict(registry.objects.get(kind, {})) for kind in KINDS
    }
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for change in changes:
        versions = list(objects[change.kind].get(change.name, {}).get("versions", ()))
        if change.action != "removed":
            versions.append(defined[change.kind][change.name])
        objects[change.kind][change.name] = {
            "versions": versions,
            "removed": change.action == "removed",
            "applied": now,
        }
    return objects


def _check_types(name: str, before: Document, after: Document) -> None:
    earlier = {column["name"]: FeatureType(column["dtype"]) for column in before["schema"]}
    for column in after["schema"]:
        dtype = FeatureType(column["dtype"])
        for known in (column["name"], *column["formerly"]):
            if known in earlier and not earlier[known].widens_to(dtype):
                raise UsageError(
                    f"Values of '{known}' that are stored do not fit its new type.",
                    where=f"feature view '{name}', field '{column['name']}'",
                    expected=f"{earlier[known]}, or a type that holds every value of it",
                    received=str(dtype),
                    next="give the new feature a name of its own",
                )


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(file: Path, objects: Mapping[str, Any]) -> None:
    unfinished = file.with_suffix(f".{os.getpid()}.part")
    with unfinished.open("w", encoding="utf-8") as handle:
        json.dump({"format": FORMAT, "objects": objects}, handle, indent=1, sort_keys=True)
        handle.flush()
        os.fsync(handle.fileno())
    unfinished.replace(file)
