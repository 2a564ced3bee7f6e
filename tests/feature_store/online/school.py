"""A small project with features, and what happens in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from feature_store.gathering import gather
from feature_store.store import FeatureStore
from learnloop.settings import Settings, project_root
from tests.feature_store.online.school_views import (
    ACTIVITY_FIELDS,
    activity,
    attempts,
    pace,
    service,
)

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
"""A moment from which tests count; all that they do has been recorded."""


def open_school(settings: Settings, *definitions: Any) -> FeatureStore:
    """A feature store whose definitions are applied."""
    found = definitions or (activity, attempts, pace, service)
    store = FeatureStore(settings, gather(found))
    store.apply()
    return store


def ago(**span: float) -> datetime:
    """A moment before :data:`NOW`."""
    return NOW - timedelta(**span)


def write_activity(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write a file of activity; what a row does not say is null, and it was recorded at once."""
    types = {"learner": pa.int64(), **{field.name: field.dtype.arrow for field in ACTIVITY_FIELDS}}
    times = {"happened_at": pa.timestamp("us", "UTC"), "recorded_at": pa.timestamp("us", "UTC")}
    whole = [{"recorded_at": row["happened_at"], **row} for row in rows]
    columns = {
        column: pa.array([row.get(column) for row in whole], dtype)
        for column, dtype in {**types, **times}.items()
    }
    folder = project_root() / "data" / "activity"
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), folder / f"{name}.parquet")


def attempt(number: int, learner: int, skill: str, count: int, at: datetime) -> dict[str, Any]:
    """A row to push."""
    return {
        "event_id": f"event-{number}",
        "learner": learner,
        "skill": skill,
        "count": count,
        "correct": count / 2,
        "happened_at": at,
    }
