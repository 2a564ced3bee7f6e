"""Taking rows as they come: kept for training and written online before the call returns.

The rows are kept first (:mod:`pushed`), each once, then every online view of the source gets them.
Whoever was interrupted pushes the same rows again: what is kept is not kept twice, and writing a
row online again changes nothing. A row that comes late never replaces a newer one. Rows of people
who were erased are not taken.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_store.definitions import FeatureView
from feature_store.erased import load_erased
from feature_store.fields import FeatureType, Field
from feature_store.offline.latest import CREATED, EVENT
from feature_store.online.keys import EntityKeys, keyed_rows
from feature_store.online.packing import RowSchema
from feature_store.online.reading import one_piece
from feature_store.online.store import stored_name
from feature_store.pushed import PushedParts
from feature_store.sources import PushSource
from learnloop.errors import UsageError, closest
from learnloop.settings import project_root

if TYPE_CHECKING:
    from feature_store.store import FeatureStore

EVENT_ID = "event_id"
"""A column of pushed rows, which may be missing: what tells one event from any other."""

AHEAD = timedelta(minutes=5)
"""How far a clock elsewhere may be ahead. A row from the future would keep out all that follow."""


@dataclass(frozen=True)
class Pushed:
    """What became of pushed rows.

    Args:
        rows: How many were given.
        new: How many had not been pushed before.
        views: The views whose online rows were written.
    """

    rows: int
    new: int
    views: tuple[str, ...]


def push(store: FeatureStore, source: str, rows: pa.Table | Sequence[Mapping[str, Any]]) -> Pushed:
    """Keep rows of a push source and write them online.

    Args:
        store: The feature store.
        source: The push source's name.
        rows: Join keys, features and times, named as in the source. The time at which rows were
            recorded is now where it is not given. ``event_id`` tells whether a row is pushed again;
            where it is not given, all of the row does.

    Returns:
        What became of them.

    Raises:
        UsageError: There is no such push source, or the rows do not fit.
        NotMaterialized: An online store holds nothing of a view; the rows are kept all the same,
            and materializing the view writes them.
        OnlineStoreUnavailable: A store does not answer; likewise.
    """
    found = _push_source(store, source)
    views = [view for view in store.definitions.stored_views.values() if view.source == found]
    names = [view.name for view in views if view.online]
    online = store.online_views(names) if names else []
    given = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows))
    table = _table(given, found, views)
    erased = load_erased(store.settings)
    if erased:
        given, table = (erased.without(rows) for rows in (given, table))
    identities = _identities(table.select(given.column_names))
    if EVENT_ID in table.column_names:
        table = table.drop([EVENT_ID])
    new = pushed_parts(found).append(table, identities)
    columns = _columns(table, found)
    for view in online:
        schema = RowSchema.of(view.schema)
        keys = EntityKeys(view.join_keys, store.pseudonyms)
        packed = keyed_rows(keys, schema, columns, columns[EVENT], columns[CREATED])
        for each in store.online_stores:
            each.push(stored_name(view.name, store.pseudonyms.name), schema, packed)
    return Pushed(len(table), new, tuple(view.name for view in online))


def compact_pushed(store: FeatureStore) -> dict[str, int]:
    """Put the small parts of all push sources together.

    Args:
        store: The feature store.

    Returns:
        How many parts were replaced, by source.
    """
    return {
        source.name: pushed_parts(source).compact()
        for source in store.definitions.sources.values()
        if isinstance(source, PushSource)
    }


def pushed_parts(source: PushSource) -> PushedParts:
    """Open the parts of a push source.

    Args:
        source: The source, whose rows are kept in a folder of this machine.

    Raises:
        UsageError: They are to be kept elsewhere.
    """
    path = source.batch_source.path
    if path.startswith("s3://") or path.endswith(".parquet") or "*" in path:
        raise UsageError(
            f"Rows of push source '{source.name}' can be kept in a folder only.",
            where=f"source '{source.batch_source.name}', path",
            expected="a folder on a disk of this machine",
            received=path,
        )
    return PushedParts(project_root() / path)


def _push_source(store: FeatureStore, name: str) -> PushSource:
    sources = store.definitions.sources
    found = sources.get(name)
    if not isinstance(found, PushSource):
        known = [known for known, source in sources.items() if isinstance(source, PushSource)]
        raise UsageError(
            f"There is no push source '{name}'.",
            where="push",
            expected=closest(name, known),
            received="a source that is not pushed to" if found else repr(name),
        )
    return found


def _table(given: pa.Table, source: PushSource, views: Sequence[FeatureView]) -> pa.Table:
    """Check rows and give every column its type."""
    fields = _fields(source, views)
    recorded = source.batch_source.created_timestamp_column
    if recorded and recorded not in given.column_names:
        now = [datetime.now(UTC)] * len(given)
        given = given.append_column(recorded, pa.array(now, FeatureType.TIMESTAMP.arrow))
    where = f"push source '{source.name}'"
    for name in given.column_names:
        if name not in fields and name != EVENT_ID:
            raise UsageError(
                f"There is no column '{name}' in this source.",
                where=where,
                expected=closest(name, fields),
                received=repr(name),
            )
    columns = {}
    for name, field in fields.items():
        if name not in given.column_names:
            raise UsageError(
                f"The rows have no column '{name}'.",
                where=where,
                expected=f"'{name}' of {field.dtype}",
                received=", ".join(given.column_names) or "no column",
            )
        columns[name] = _cast(given.column(name), field, where)
    if EVENT_ID in given.column_names:
        identity = Field(EVENT_ID, FeatureType.STRING)
        columns[EVENT_ID] = _cast(given.column(EVENT_ID), identity, where)
    table = pa.table(columns)
    keys = {key.name for view in views for key in view.join_keys}
    _check_rows(table, {*keys, *_times(source), EVENT_ID}, source, where)
    return table


def _fields(source: PushSource, views: Sequence[FeatureView]) -> dict[str, Field]:
    """All columns of a source: those of its views, and its times."""
    fields = {field.name: field for v in views for field in (*v.join_keys, *v.schema)}
    return fields | {name: Field(name, FeatureType.TIMESTAMP) for name in _times(source)}


def _times(source: PushSource) -> tuple[str, ...]:
    batch = source.batch_source
    return tuple(filter(None, (batch.timestamp_field, batch.created_timestamp_column)))


def _cast(column: pa.ChunkedArray, field: Field, where: str) -> pa.ChunkedArray:
    wanted = field.dtype.arrow
    # An integer that became text, or the other way round, would be another learner.
    kinds = pa.types.is_string, pa.types.is_timestamp
    fits = all(kind(column.type) == kind(wanted) for kind in kinds) or pa.types.is_null(column.type)
    if fits:
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return column.cast(wanted)
    raise UsageError(
        f"Column '{field.name}' is not of its type.",
        where=where,
        expected=field.dtype,
        received=column.type,
    )


def _check_rows(table: pa.Table, needed: set[str], source: PushSource, where: str) -> None:
    for name in sorted(needed.intersection(table.column_names)):
        if table.column(name).null_count:
            raise UsageError(
                f"A row has no '{name}'.",
                where=where,
                expected="a value in every row",
                received=f"{table.column(name).null_count} rows without",
            )
    latest = datetime.now(UTC) + AHEAD
    for name in _times(source):
        newest = pc.max(table.column(name)).as_py()
        if newest is not None and newest > latest:
            raise UsageError(
                "A row comes from the future: it would keep out the rows that follow.",
                where=f"{where}, {name}",
                expected=f"a time up to {latest.isoformat(timespec='seconds')}",
                received=newest.astimezone(UTC).isoformat(timespec="seconds"),
            )


def _identities(table: pa.Table) -> list[bytes]:
    """Sixteen bytes that tell each row from any other, from its event or from all of it."""
    if EVENT_ID in table.column_names:
        texts = [f"event:{event}" for event in table.column(EVENT_ID).to_pylist()]
    else:
        texts = [repr(row) for row in zip(*table.to_pydict().values(), strict=True)]
    return [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]


def _columns(table: pa.Table, source: PushSource) -> dict[str, pa.Array]:
    """The columns in one piece each, with both times as numbers."""
    columns = {
        name: one_piece(column)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    times = [columns[name].cast(pa.int64()) for name in _times(source)]
    return columns | {EVENT: times[0], CREATED: times[-1]}
