"""Writing the newest rows of a source to the online store.

A row counts from the later of the times at which it happened and was recorded. Each store keeps,
in the transaction that makes rows visible, up to which moment it has them all: the watermark. So
materializing again writes the same again, a kill leaves the rows and the watermark of before, and
two who materialize at once are one who does and one who is told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from feature_store.definitions import FeatureView
from feature_store.erased import load_erased
from feature_store.offline.latest import CREATED, EVENT, latest_rows
from feature_store.offline.reading import SourceChanged
from feature_store.online.keys import EntityKeys, keyed_rows
from feature_store.online.packing import RowSchema
from feature_store.online.rows import EPOCH
from feature_store.online.store import (
    Materialization,
    OnlineStore,
    Row,
    ViewState,
    plain_name,
    stored_name,
)
from feature_store.push import pushed_parts
from feature_store.sources import PushSource
from learnloop.errors import UsageError

if TYPE_CHECKING:
    from feature_store.store import FeatureStore

LATE = timedelta(minutes=10)
"""How long after it was recorded a row may reach its source: so far back an incremental
materialization reads again."""

ATTEMPTS = 5
"""How often a source is read that is compacted meanwhile."""


@dataclass(frozen=True)
class Materialized:
    """What was written of a view to a store.

    Args:
        view: The view's name.
        store: What people call the store.
        rows: How many rows were written.
        start: The beginning of the span; None for the beginning of time.
        watermark: Up to when the store has all rows now.
        seconds: How long it took.
    """

    view: str
    store: str
    rows: int
    start: datetime | None
    watermark: datetime
    seconds: float


def materialize(
    store: FeatureStore, views: Sequence[FeatureView], start: datetime | None, end: datetime
) -> list[Materialized]:
    """Write the rows that came to count in a span.

    Args:
        store: The feature store.
        views: The views.
        start: The span's beginning, itself left out; None for the beginning of time.
        end: The span's end, itself in it.

    Returns:
        What was written, view by view and store by store.

    Raises:
        UsageError: The span ends in the future or before it begins.
        MaterializationConflict: Somebody else materialized meanwhile.
        OnlineStoreUnavailable: A store does not answer.
    """
    _check_span(start, end)
    return [
        _materialize(store, view, online, start, end)
        for view in views
        for online in store.online_stores
    ]


def materialize_incremental(
    store: FeatureStore, views: Sequence[FeatureView], end: datetime
) -> list[Materialized]:
    """Write the rows that came to count since the last time.

    Everything is written to a store that holds nothing of a view, because it is new or has lost its
    data, and where the view's schema has changed since.

    Args:
        store: The feature store.
        views: The views.
        end: The span's end, itself in it.

    Returns:
        What was written, view by view and store by store.

    Raises:
        UsageError: The span ends in the future.
        MaterializationConflict: Somebody else materialized meanwhile.
        OnlineStoreUnavailable: A store does not answer.
    """
    _check_span(None, end)
    done = []
    for view in views:
        schema = RowSchema.of(view.schema).fingerprint.hex()
        for online in store.online_stores:
            state = online.state(stored_name(view.name, store.pseudonyms.name))
            is_known = state is not None and state.schema == schema
            start = _moment(state.watermark) - LATE if state and is_known else None
            done.append(_materialize(store, view, online, start, end))
    return done


def _materialize(
    store: FeatureStore,
    view: FeatureView,
    online: OnlineStore,
    start: datetime | None,
    end: datetime,
) -> Materialized:
    began, pseudonyms = time.monotonic(), store.pseudonyms
    stored = stored_name(view.name, pseudonyms.name)
    if isinstance(view.source, PushSource):
        pushed_parts(view.source)
    for attempt in range(ATTEMPTS):
        before = online.state(stored)
        schema = RowSchema.of(view.schema)
        after = _state_after(before, schema, start, end)
        change = Materialization(stored, schema, before, after)
        try:
            rows = online.materialize(change, _packed(store, view, schema, start, end))
            break
        except SourceChanged:
            if attempt == ATTEMPTS - 1:
                raise
    for other in online.views():
        if plain_name(other) == view.name and other != stored:
            online.drop(other)
    return Materialized(
        view.name, online.name, rows, start, _moment(after.watermark), time.monotonic() - began
    )


def _packed(
    store: FeatureStore,
    view: FeatureView,
    schema: RowSchema,
    start: datetime | None,
    end: datetime,
) -> Iterator[list[Row]]:
    """Read the source and pack its rows, batch by batch, without those of erased people."""
    keys, erased = EntityKeys(view.join_keys, store.pseudonyms), load_erased(store.settings)
    with latest_rows(view, start, end) as batches:
        for batch in map(erased.without, batches) if erased else batches:
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            yield keyed_rows(keys, schema, columns, columns[EVENT], columns[CREATED])


def _state_after(
    before: ViewState | None, schema: RowSchema, start: datetime | None, end: datetime
) -> ViewState:
    """What is known of a view after a span: a gap before it, and an old schema, stay known."""
    fingerprint, reached = schema.fingerprint.hex(), _microseconds(end)
    if before is None or start is None:
        return ViewState(fingerprint, max(reached, before.watermark if before else reached))
    has_gap = _microseconds(start) > before.watermark
    return ViewState(before.schema, before.watermark if has_gap else max(before.watermark, reached))


def _check_span(start: datetime | None, end: datetime) -> None:
    for moment in (start, end):
        if moment is not None and moment.tzinfo is None:
            raise UsageError(
                "A moment needs a time zone.",
                where="materialize",
                expected="a datetime with a zone, as datetime.now(UTC)",
                received=repr(moment),
            )
    if end > datetime.now(UTC):
        raise UsageError(
            "What has not been recorded yet cannot be materialized.",
            where="materialize, end",
            expected="a moment that has passed",
            received=end.isoformat(),
        )
    if start is not None and start > end:
        raise UsageError(
            "The span ends before it begins.",
            where="materialize",
            expected=f"an end from {start.isoformat()} on",
            received=end.isoformat(),
        )


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
