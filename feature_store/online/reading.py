"""Features as they are now, with a status for each view, from the online store.

A reader is made once for a request that has been resolved and checked (:mod:`asking`), and reads
often: by the row, as a dictionary, in microseconds; or many rows, as an Arrow table. A value that
is too old is null, as in the offline join, and says so. When the first store does not answer or has
lost its data the next one is read; where there is none the error is the caller's to see.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from feature_store.asking import Asked, full_name
from feature_store.definitions import FeatureProjection, FeatureView
from feature_store.fields import Field
from feature_store.on_demand import answer_columns
from feature_store.online.keys import NO_KEY, EntityKeys, Pseudonyms
from feature_store.online.packing import HEADER_BYTES, STAMP_BYTES, TIME_SHIFT, event_time
from feature_store.online.rows import RowReader
from feature_store.online.store import (
    NotMaterialized,
    OnlineStore,
    OnlineStoreUnavailable,
    stored_name,
)
from learnloop.errors import UsageError

logger = logging.getLogger(__name__)

REST_SECONDS = 5.0
"""For how long a store that failed is not asked again, so that each caller does not wait for it."""


class Status(StrEnum):
    """What became of the features of a view for a row; the words are those of Feast's users."""

    PRESENT = "PRESENT"
    NOT_FOUND = "NOT_FOUND"
    OUTSIDE_MAX_AGE = "OUTSIDE_MAX_AGE"


@dataclass(frozen=True)
class OnlineRow:
    """Features of one row.

    Args:
        values: The features by name, null where there is none.
        statuses: What became of each view.
    """

    values: dict[str, Any]
    statuses: dict[str, Status]


@dataclass(frozen=True)
class OnlineFeatures:
    """Features of many rows.

    Args:
        table: The entity rows, every one and in order, with the features.
        statuses: For each view what became of it, row by row.
        event_times: For each view when its values came to hold, null where there is no row.
    """

    table: pa.Table
    statuses: Mapping[str, Sequence[Status]]
    event_times: Mapping[str, pa.Array]

    def to_arrow(self) -> pa.Table:
        """The entity rows with the features."""
        return self.table

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns as lists."""
        columns: dict[str, list[Any]] = self.table.to_pydict()
        return columns


class OnlineReader:
    """Reads the features of one request.

    Args:
        asked: What is asked for, with its purpose checked.
        stores: The stores, in the order in which they are tried.
        pseudonyms: How the stores' keys hide the values of join keys.
    """

    def __init__(
        self, asked: Asked, stores: Sequence[OnlineStore], pseudonyms: Pseudonyms = NO_KEY
    ) -> None:
        self._asked = asked
        self._stores = tuple(stores)
        self._views = [_View(projection, asked, pseudonyms) for projection in asked.stored]
        self._empty = {column.name: None for column in asked.columns}
        self._given = (*asked.join_keys, *asked.request_fields)
        self._tried_again: dict[str, float] = {}

    def one(self, entity: Mapping[str, Any]) -> OnlineRow:
        """Read the features of one row.

        Args:
            entity: Join keys and the columns that on-demand views are given.

        Returns:
            The features as Python values.

        Raises:
            UsageError: A join key is missing or not of its type.
            NotMaterialized: The store holds nothing of a view.
            OnlineStoreUnavailable: The store does not answer.
        """
        if self._asked.on_demand:
            return self._one_of_many(entity)
        wanted = [(view.stored, (view.keys.one(entity) or b"",)) for view in self._views]
        store, found = self._read(wanted)
        now = time.time_ns() // 1000
        values: dict[str, Any] = self._empty.copy()
        statuses = {}
        for view, (row,) in zip(self._views, found, strict=True):
            if row is None:
                statuses[view.name] = Status.NOT_FOUND
            elif view.max_age is not None and now - event_time(row) > view.max_age:
                statuses[view.name] = Status.OUTSIDE_MAX_AGE
            else:
                statuses[view.name] = Status.PRESENT
                read = view.reader(row[STAMP_BYTES:HEADER_BYTES], store).one(row)
                values.update(zip(view.answer_names, read, strict=True))
        return OnlineRow(values, statuses)

    def many(self, entity_rows: pa.Table | Sequence[Mapping[str, Any]]) -> OnlineFeatures:
        """Read the features of many rows.

        Args:
            entity_rows: Join keys and the columns that on-demand views are given.

        Returns:
            The entity rows, every one and in order, with the features.

        Raises:
            UsageError: A column is missing or not of its type.
            NotMaterialized: The store holds nothing of a view.
            OnlineStoreUnavailable: The store does not answer.
        """
        table = self._table(entity_rows)
        given = {field.name: _typed(table, field) for field in self._given}
        wanted = [
            (view.stored, [key or b"" for key in view.keys.many(given)]) for view in self._views
        ]
        store, found = self._read(wanted)
        now = time.time_ns() // 1000
        columns = {field.name: given[field.name] for field in self._asked.request_fields}
        statuses: dict[str, Sequence[Status]] = {}
        event_times = {}
        for view, rows in zip(self._views, found, strict=True):
            read, event_times[view.name], statuses[view.name] = view.columns(rows, now, store)
            columns.update(read)
        answer = answer_columns(self._asked, columns, len(table))
        whole = pa.Table.from_arrays(
            [*table.columns, *answer.values()], names=[*table.column_names, *answer]
        )
        return OnlineFeatures(whole, statuses, event_times)

    def _one_of_many(self, entity: Mapping[str, Any]) -> OnlineRow:
        names = [field.name for field in self._given]
        answer = self.many([{name: entity[name] for name in names if name in entity}])
        (row,) = answer.table.select(list(self._empty)).to_pylist()
        return OnlineRow(row, {view: status[0] for view, status in answer.statuses.items()})

    def _read(
        self, wanted: Sequence[tuple[str, Sequence[bytes]]]
    ) -> tuple[OnlineStore, list[list[bytes | None]]]:
        """Read from the first store that has an answer."""
        *others, last = self._stores
        for store in others:
            if self._tried_again.get(store.name, 0.0) > time.monotonic():
                continue
            try:
                return store, store.read(wanted)
            except (OnlineStoreUnavailable, NotMaterialized) as fault:
                self._tried_again[store.name] = time.monotonic() + REST_SECONDS
                logger.warning("%s (%s) Features come from the fallback.", fault.what, fault.where)
        return last, last.read(wanted)

    def _table(self, entity_rows: pa.Table | Sequence[Mapping[str, Any]]) -> pa.Table:
        if not isinstance(entity_rows, pa.Table):
            entity_rows = pa.Table.from_pydict(
                {field.name: _column(entity_rows, field) for field in self._given}
            )
        taken = [name for name in self._empty if name in entity_rows.column_names]
        if taken:
            raise UsageError(
                f"A feature and a column of the entity rows have one name, '{taken[0]}'.",
                where="entity rows",
                expected="names that differ",
                received=repr(taken[0]),
                next="ask with full_feature_names=True",
            )
        return entity_rows


class _View:
    """What a reader does with one view.

    Args:
        projection: The features that are read.
        asked: What is asked for.
        pseudonyms: How keys hide the values of join keys.
    """

    def __init__(self, projection: FeatureProjection, asked: Asked, pseudonyms: Pseudonyms) -> None:
        view = projection.view
        assert isinstance(view, FeatureView)
        self.name = view.name
        self.stored = stored_name(view.name, pseudonyms.name)
        self.keys = EntityKeys(view.join_keys, pseudonyms)
        self.max_age = None if view.ttl is None else view.ttl // timedelta(microseconds=1)
        names = {c.field.name: c.name for c in asked.columns if c.view.name == view.name}
        self.answer_names = tuple(names.get(name, name) for name in projection.names)
        self._fields = projection.fields
        self._full_names = [full_name(view, name) for name in projection.names]
        self._view = view
        self._names = projection.names
        self._readers: dict[bytes, RowReader] = {}

    def reader(self, fingerprint: bytes, store: OnlineStore) -> RowReader:
        """The reader of rows of some schema."""
        found = self._readers.get(fingerprint)
        if found is None:
            stored = store.schema(fingerprint)
            found = RowReader(stored, self._view.schema, self._names, self.name)
            self._readers[fingerprint] = found
        return found

    def columns(
        self, rows: Sequence[bytes | None], now: int, store: OnlineStore
    ) -> tuple[dict[str, pa.Array], pa.Array, Sequence[Status]]:
        """Read rows by column: the features by full name, the event times, the statuses."""
        there = [row for row in rows if row is not None]
        times = np.frombuffer(b"".join([row[:8] for row in there]), ">u8") ^ np.uint64(TIME_SHIFT)
        happened = times.astype(np.uint64).view(np.int64)
        too_old = np.zeros(len(there), bool)
        if self.max_age is not None:
            too_old = now - happened > self.max_age
        if len(there) == len(rows) and not too_old.any():
            statuses: list[Status] = [Status.PRESENT] * len(rows)
            return self._decoded(there, store), _times(happened), statuses
        place_of = np.full(len(rows), -1)
        place_of[[at for at, row in enumerate(rows) if row is not None]] = np.arange(len(there))
        fresh = np.flatnonzero(~too_old)
        place_of_fresh = np.full(len(there) + 1, -1)
        place_of_fresh[fresh] = np.arange(len(fresh))
        decoded = self._decoded([there[at] for at in fresh], store)
        taken = _places(place_of_fresh[place_of])
        statuses = [
            Status.NOT_FOUND
            if at < 0
            else (Status.OUTSIDE_MAX_AGE if too_old[at] else Status.PRESENT)
            for at in place_of
        ]
        columns = {name: column.take(taken) for name, column in decoded.items()}
        return columns, _times(happened).take(_places(place_of)), statuses

    def _decoded(self, rows: list[bytes], store: OnlineStore) -> dict[str, pa.Array]:
        """Read rows, whichever schemas they were packed with."""
        fingerprints = [row[STAMP_BYTES:HEADER_BYTES] for row in rows]
        kinds = set(fingerprints)
        if not kinds:
            empty = [pa.nulls(0, field.dtype.arrow) for field in self._fields]
            return dict(zip(self._full_names, empty, strict=True))
        if len(kinds) == 1:
            columns = self.reader(kinds.pop(), store).columns(rows)
            return dict(zip(self._full_names, columns, strict=True))
        places: list[int] = []
        parts = []
        for kind in kinds:
            chosen = [at for at, fingerprint in enumerate(fingerprints) if fingerprint == kind]
            places += chosen
            parts.append(self.reader(kind, store).columns([rows[at] for at in chosen]))
        order = pa.array(np.argsort(places))
        return {
            name: pa.concat_arrays(some).take(order)
            for name, some in zip(self._full_names, zip(*parts, strict=True), strict=True)
        }


def _places(places: np.ndarray[Any, Any]) -> pa.Array:
    """Places to take values from; a place before the first gives null."""
    return pa.array(places, pa.int64(), mask=places < 0)


def _times(happened: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(happened).view(pa.timestamp("us", "UTC"))


def _typed(table: pa.Table, field: Field) -> pa.Array:
    """A column of the entity rows, of its field's type."""
    if field.name not in table.column_names:
        raise UsageError(
            f"The entity rows have no column '{field.name}'.",
            where="entity rows",
            expected=f"'{field.name}' of {field.dtype}",
            received=", ".join(table.column_names) or "no column",
        )
    column = one_piece(table.column(field.name))
    wanted = field.dtype.arrow
    if column.type == wanted:
        return column
    if pa.types.is_integer(column.type) == pa.types.is_integer(wanted):
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return column.cast(wanted)
    raise UsageError(
        f"Column '{field.name}' of the entity rows is not of its type.",
        where="entity rows",
        expected=field.dtype,
        received=column.type,
    )


def one_piece(column: pa.ChunkedArray) -> pa.Array:
    """Put the chunks of a column together.

    Args:
        column: The column.
    """
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.chunks else pa.nulls(0, column.type)


def _column(rows: Sequence[Mapping[str, Any]], field: Field) -> pa.Array:
    """A column of entity rows that were given one by one."""
    values = [row.get(field.name, _MISSING) for row in rows]
    if _MISSING in values:
        raise UsageError(
            f"The entity rows have no value of '{field.name}'.",
            where=f"entity rows, row {values.index(_MISSING)}",
            expected=f"'{field.name}' of {field.dtype}",
            received="nothing",
        )
    try:
        return pa.array(values, field.dtype.arrow)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        raise UsageError(
            f"Column '{field.name}' of the entity rows is not of its type.",
            where="entity rows",
            expected=field.dtype,
            received=", ".join(sorted({type(value).__name__ for value in values})),
        ) from None


_MISSING = object()
