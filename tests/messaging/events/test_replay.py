"""A folder told as events: everything that happened, in one order, again and again the same."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from learnloop.errors import LearnLoopError, UsageError
from messaging.events.parsing import parse_events
from messaging.events.replay import read_events, stream_folder
from simulator import SimulationSettings, simulate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay") / "data"
    simulate(SimulationSettings(attempts=1_000), folder)
    return folder


class Told:
    """Takes events as a producer does; fails at the flush it is told to."""

    def __init__(self, fail_at: int = 0) -> None:
        self.events: list[dict[str, Any]] = []
        self.flushes = 0
        self.fail_at = fail_at

    def send(self, events: list[dict[str, Any]]) -> None:
        self.events += events

    def flush(self) -> None:
        self.flushes += 1
        if self.flushes == self.fail_at:
            raise LearnLoopError("Kafka did not take an event.")


def test_everything_that_happened_is_told_in_order(data: Path) -> None:
    events = [event for batch in read_events(data, "term") for event in batch]
    by_kind = {kind: [e for e in events if e["kind"] == kind] for kind in ("attempt", "click")}
    assert len(by_kind["attempt"]) == 1_000
    clicks = sum(parquet.read_metadata(p).num_rows for p in (data / "oulad/studentVle").iterdir())
    assert len(by_kind["click"]) == clicks
    assert all(one["at"] <= two["at"] for one, two in pairwise(events))
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert events == [event for batch in read_events(data, "term") for event in batch]


def test_what_is_told_keeps_the_schema(data: Path) -> None:
    import json

    values = [json.dumps(event).encode() for batch in read_events(data, "s") for event in batch]
    parsed = parse_events(values)
    assert parsed.refused == {}
    assert parsed.events.num_rows == len(values)


def test_oulad_counts_days_from_the_start_of_its_presentation(real_data: Path) -> None:
    first = next(read_events(real_data / "oulad", "oulad"))[0]
    assert first == {
        "version": 1, "source": "oulad", "sequence": 1, "at": "2012-03-28T00:00:00.000000Z",
        "kind": "enrolment", "learner": "183714", "course": "DDD", "presentation": "2013B",
        "action": "enrolled",
    }  # fmt: skip


def test_a_cut_stream_goes_on_after_the_last_acknowledged_event(data: Path, tmp_path: Path) -> None:
    position = tmp_path / "positions" / "term.json"
    first, second, third = Told(fail_at=2), Told(), Told()
    with pytest.raises(LearnLoopError):
        stream_folder(data, first, source="term", position=position)  # type: ignore[arg-type]
    stream_folder(data, second, source="term", position=position)  # type: ignore[arg-type]
    assert second.events[0]["sequence"] == 5_001
    assert stream_folder(data, third, source="term", position=position) == 0  # type: ignore[arg-type]


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        next(read_events(tmp_path, "term"))
    assert str(error.value) == (
        "There is nothing here that could be told as events.\n"
        f"  where:    {tmp_path}\n"
        "  expected: attempts/*.parquet, or OULAD's tables in it or in oulad/\n"
        f"  next:     learnloop simulate {tmp_path}"
    )
