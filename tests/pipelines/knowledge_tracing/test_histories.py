"""Histories of learners, put together from their events."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from learnloop.artifacts import Records
from learnloop.component import Context
from learnloop.errors import UsageError
from messaging.events.schema import part_schema
from pipelines.knowledge_tracing.histories import histories

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
ATTEMPTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.sampled_from("xyz"), st.booleans()),
    min_size=1,
    max_size=40,
)


def attempt(sequence: int, learner: str, second: int, skill: str, correct: bool) -> dict[str, Any]:
    moment = BEGIN + timedelta(seconds=second)
    told = {"at": moment, "recorded_at": moment, "source": "app", "sequence": sequence}
    return told | {"learner": learner, "skill": skill, "item": None, "correct": correct}


def histories_of(folder: Path, rows: list[dict[str, Any]], longest: int) -> list[dict[str, Any]]:
    """Keep the events in two parts, as the collector does, and put the histories together."""
    kept = folder / "events" / "attempt" / "hour=2026-03-01T00"
    kept.mkdir(parents=True)
    for number, part in enumerate((rows[::2], rows[1::2])):
        table = pa.Table.from_pylist(part, part_schema("attempt"))
        parquet.write_table(table, kept / f"{number}.parquet")
    features = Records.create(folder / "features")
    context = Context.for_test(folder)
    histories.function(features, source=str(folder / "events"), longest=longest, context=context)
    found: list[dict[str, Any]] = features.table("practice_history").to_pylist()
    return found


@given(ATTEMPTS, st.integers(1, 6))
def test_the_last_attempts_of_each_learner_in_order_of_time(
    drawn: list[tuple[str, int, str, bool]], longest: int
) -> None:
    rows = [attempt(number, *one) for number, one in enumerate(drawn, 1)]
    expected: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["at"], row["sequence"])):
        expected[row["learner"]].append(row)
    with tempfile.TemporaryDirectory() as folder:
        found = histories_of(Path(folder), rows, longest)
    assert found == [
        {
            "learner": learner,
            "as_of": told[-1]["at"],
            "skills": [row["skill"] for row in told[-longest:]],
            "responses": [int(row["correct"]) for row in told[-longest:]],
        }
        for learner, told in sorted(expected.items())
    ]


def test_events_without_attempts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    features = Records.create(tmp_path / "features")
    context = Context.for_test(tmp_path)
    with pytest.raises(UsageError) as caught:
        histories.function(features, source=str(tmp_path / "events"), context=context)
    assert str(caught.value) == (
        f"There are no attempts among the events.\n  where:    {tmp_path}/events\n"
        "  expected: attempt/hour=…/*.parquet, as learnloop events collect writes them\n"
        "  received: nothing"
    )
