"""Files that end before a span are passed over, and nothing of the span with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store.definitions import FeatureView
from feature_store.fields import Entity, FeatureType, Field
from feature_store.offline.latest import latest_rows
from feature_store.sources import ParquetSource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
VIEW = FeatureView(
    "activity",
    (Entity("learner", (Field("learner", FeatureType.INT64),)),),
    (Field("clicks", FeatureType.INT64),),
    ParquetSource("files", "data", "happened"),
)


def write(folder: Path, name: str, nanoseconds: int, unit: str, clicks: int) -> None:
    """Write a row that happened so long after noon."""
    moment = np.datetime64("2026-03-01T12:00", "ns") + np.timedelta64(nanoseconds, "ns")
    times = pa.array([moment]).cast(pa.timestamp(unit, "UTC"))
    rows = pa.table({"learner": [1], "nested": [{"a": 1, "b": 2}], "happened": times})
    rows = rows.append_column("clicks", pa.array([clicks]))
    folder.mkdir(exist_ok=True)
    parquet.write_table(rows, folder / f"{name}.parquet", version="2.6")


def clicks_between(low: datetime | None, high: datetime) -> list[int]:
    with latest_rows(VIEW, low, high) as found:
        clicks: list[int] = found.read_all()["clicks"].to_pylist()
    return clicks


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(tmp_path))
    return tmp_path / "data"


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_a_span_begins_after_its_beginning(data: Path, unit: str) -> None:
    write(data, "first", 0, unit, 5)
    write(data, "later", 2_000_000, unit, 6)
    second = NOON + timedelta(milliseconds=2)
    assert clicks_between(None, NOON) == [5]
    assert clicks_between(NOON - MICROSECOND, NOON) == [5]
    assert clicks_between(NOON, second) == [6]
    assert clicks_between(second, second + MICROSECOND) == []


def test_a_part_of_a_microsecond_is_the_next_one(data: Path) -> None:
    write(data, "first", 500, "ns", 5)
    assert clicks_between(NOON, NOON + MICROSECOND) == [5]
    assert clicks_between(NOON + MICROSECOND, NOON + 2 * MICROSECOND) == []


def test_a_file_that_ends_before_the_span_is_not_read(data: Path) -> None:
    write(data, "first", 0, "us", 5)
    file = data / "first.parquet"
    content = bytearray(file.read_bytes())
    content[4:40] = b"\xff" * 36  # its first pages; the footer says all that is needed
    file.write_bytes(content)
    assert clicks_between(NOON, NOON + MICROSECOND) == []
