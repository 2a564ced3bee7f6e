"""What the feature server answers: a request as a document in, the answer as a document out.

Only services are answered: what a service reads, and for what purpose, was written down, reviewed
and applied, so no caller can claim a purpose of its own. The documents are those of Feast's feature
server, so a client of it goes on working. Nothing here knows of HTTP.
"""

from __future__ import annotations

import base64
import math
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from feature_store.asking import Asked, Column
from feature_store.definitions import OnDemandFeatureView
from feature_store.online.reading import OnlineFeatures, OnlineReader, Status
from feature_store.registry import registry_file
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    from feature_store.store import FeatureStore

Document: TypeAlias = dict[str, Any]

SERVICE, ENTITIES, FULL_NAMES = "feature_service", "entities", "full_feature_names"
MEMBERS = {SERVICE: str, ENTITIES: dict, FULL_NAMES: bool}
"""The members of a request, with the type of each in JSON."""
MOST_ROWS = 1000
"""Entity rows of one request."""


class Answering:
    """Answers requests, from several threads at once.

    Definitions are checked against what is applied when a service is first asked for, and again
    whenever something was applied since.

    Args:
        store: The feature store.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._readers: dict[tuple[str, bool], tuple[Asked, OnlineReader]] = {}
        self._applied: tuple[int, ...] = ()

    def answer(self, request: object) -> Document:
        """Answer a request for the features of some entities.

        Args:
            request: ``feature_service``, ``entities`` (columns of join keys and of what on-demand
                views are given, by name) and, if wanted, ``full_feature_names``.

        Returns:
            ``metadata`` with the names of the columns, and ``results`` with values, statuses and
            event times of each, row by row.

        Raises:
            UsageError: The request does not fit.
            NotApplied: The service is not applied as this process knows it.
            NotMaterialized: The online store holds nothing of a view.
            OnlineStoreUnavailable: The online store does not answer.
        """
        members = _members(request)
        asked, reader = self._reader(members[SERVICE], members.get(FULL_NAMES, False))
        rows = _rows(members[ENTITIES], asked)
        return _document(asked, list(members[ENTITIES]), reader.many(rows))

    def _reader(self, service: str, full_names: bool) -> tuple[Asked, OnlineReader]:
        with self._lock:
            applied = self._last_applied()
            if applied != self._applied:
                self._readers.clear()
                self._applied = applied
            found = self._readers.get((service, full_names))
            if found is None:
                asked = self._store.ask(service, full_feature_names=full_names)
                found = asked, self._store.online_reader(asked)
                self._readers[service, full_names] = found
            return found

    def _last_applied(self) -> tuple[int, ...]:
        """What tells the registry from a later one."""
        try:
            status = registry_file(self._store.settings).stat()
        except FileNotFoundError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns


def _members(request: object) -> Document:
    if not isinstance(request, dict):
        raise _misfit("a JSON object", type(request).__name__)
    for name, value in request.items():
        if name not in MEMBERS:
            raise _misfit(closest(name, MEMBERS), repr(name))
        if not isinstance(value, MEMBERS[name]):
            raise _misfit(f"'{name}' of type {MEMBERS[name].__name__}", type(value).__name__)
    for name in (SERVICE, ENTITIES):
        if name not in request:
            raise _misfit(f"a member '{name}'", ", ".join(request) or "an empty object")
    return request


def _rows(entities: Mapping[str, object], asked: Asked) -> list[Document]:
    """Turn columns into rows; what the columns hold is looked at by the reader."""
    known = [field.name for field in (*asked.join_keys, *asked.request_fields)]
    for name, column in entities.items():
        if name not in known:
            raise _misfit(closest(name, known), repr(name), f"request, {ENTITIES}")
        if not isinstance(column, list):
            raise _misfit("a list", type(column).__name__, f"request, {ENTITIES}, {name}")
    lengths = {len(column) for column in entities.values() if isinstance(column, list)}
    if len(lengths) != 1:
        received = f"lists of {', '.join(map(str, sorted(lengths)))}" if lengths else "no list"
        raise _misfit("lists of one length", received, f"request, {ENTITIES}")
    if max(lengths) > MOST_ROWS:
        raise _misfit(f"at most {MOST_ROWS} rows", f"{max(lengths)}", f"request, {ENTITIES}")
    columns: Mapping[str, Any] = entities
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _misfit(expected: str, received: str, where: str = "request") -> UsageError:
    return UsageError(
        "The request does not fit.", where=where, expected=expected, received=received
    )


def _document(asked: Asked, given: Sequence[str], found: OnlineFeatures) -> Document:
    rows = len(found.table)
    results = [
        {
            "values": found.table.column(name).to_pylist(),
            "statuses": [Status.PRESENT] * rows,
            "event_timestamps": [None] * rows,
        }
        for name in given
    ]
    for column in asked.columns:
        values = map(_plain, found.table.column(column.name).to_pylist())
        results.append({"values": list(values), **_provenance(column, found, rows)})
    names = [*given, *(column.name for column in asked.columns)]
    return {"metadata": {"feature_names": names}, "results": results}


def _provenance(column: Column, found: OnlineFeatures, rows: int) -> Document:
    """What became of a column, and when its values came to hold."""
    if isinstance(column.view, OnDemandFeatureView):
        read = [found.statuses[chosen.view.name] for chosen in column.view.projections]
        statuses = [_least(row) for row in zip(*read, strict=True)] or [Status.PRESENT] * rows
        return {"statuses": statuses, "event_timestamps": [None] * rows}
    times = found.event_times[column.view.name].to_pylist()
    return {
        "statuses": list(found.statuses[column.view.name]),
        "event_timestamps": [time and time.isoformat() for time in times],
    }


def _least(statuses: Sequence[Status]) -> Status:
    """What is computed is there as far as all that it is computed from is."""
    missing = (Status.NOT_FOUND, Status.OUTSIDE_MAX_AGE)
    return next((status for status in missing if status in statuses), Status.PRESENT)


def _plain(value: object) -> object:
    """A value as JSON has it; numbers that JSON does not know are words, as in protobuf's JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return [_plain(one) for one in value] if isinstance(value, list) else value
