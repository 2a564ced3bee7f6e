"""What is made of collected events: outcomes by pseudonym, and three-line files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from components.engines.monitoring.outcomes import read_outcomes
from pipelines.loop.collected import read_attempts, write_outcomes, write_sequences
from serving.client import pseudonym

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNLOOP_PSEUDONYM_KEYS", "test:" + "k" * 32)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Five learners with two attempts each, collected in two parts, the later part first."""
    rows = [
        {
            "at": NOON + timedelta(minutes=number),
            "sequence": number,
            "learner": f"learner-{number % 5}",
            "skill": str(number),
            "correct": number % 2 == 0,
        }
        for number in range(10)
    ]
    for name, some in (("a", rows[5:]), ("b", rows[:5])):
        folder = tmp_path / "events" / "attempt" / "hour=2026-03-02T12"
        folder.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(some), folder / f"{name}.parquet")
    return tmp_path / "events"


def test_outcomes_name_nobody(events: Path, tmp_path: Path) -> None:
    write_outcomes(events, tmp_path / "outcomes")
    found = read_outcomes(tmp_path / "outcomes")
    assert found["subject"].to_pylist()[:2] == [pseudonym("learner-0"), pseudonym("learner-1")]
    assert found["outcome"].to_pylist() == [1, 0] * 5
    assert found["known_at"].to_pylist()[9] == NOON + timedelta(minutes=9)


def test_sequences_are_by_learner_in_the_order_told(events: Path, tmp_path: Path) -> None:
    assert write_sequences(events, tmp_path / "term", NOON) == 10
    train = (tmp_path / "term" / "collected_train.csv").read_text()
    test = (tmp_path / "term" / "collected_test.csv").read_text()
    assert test == "2\n0,5\n1,0\n2\n4,9\n1,0\n"
    assert train == "2\n1,6\n0,1\n2\n2,7\n1,0\n2\n3,8\n0,1\n"
    assert write_sequences(events, tmp_path / "new", NOON + timedelta(minutes=5)) == 5


def test_nothing_is_collected_yet(tmp_path: Path) -> None:
    assert read_attempts(tmp_path, ["sequence"]).num_rows == 0
