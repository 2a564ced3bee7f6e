"""Splits by learner and by time: never a learner or a moment in two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.split import by_learner, by_time, split
from learnloop.artifacts import Examples, Records
from learnloop.errors import UsageError


def run(folder: Path, table: pa.Table, **parameters: Any) -> Examples:
    records, examples = Records.create(folder / "records"), Examples.create(folder / "examples")
    records.write("attempts", table)
    split.function(records, examples, **{"table": "attempts", **parameters})
    return examples


def attempts(learners: int = 400, each: int = 5) -> pa.Table:
    count = learners * each
    return pa.table(
        {
            "learner": pa.array([f"learner {n % learners}" for n in range(count)]),
            "day": pa.array(np.arange(count) // 10),
        }
    )


def test_a_learner_is_in_one_split_only_and_no_row_is_lost(tmp_path: Path) -> None:
    examples = run(tmp_path, attempts(), by="learner", validation=0.2, test=0.3)
    assert examples.names == ("train", "validation", "test")
    learners = [set(examples.table(name)["learner"].to_pylist()) for name in examples.names]
    assert sum(map(len, learners)) == len(set.union(*learners)) == 400
    assert sum(examples.counts.values()) == 2_000
    assert [round(len(part) / 400, 1) for part in learners] == [0.5, 0.2, 0.3]


def test_the_split_is_the_same_every_time_and_another_by_another_seed() -> None:
    learners = pa.chunked_array([[f"learner {n}" for n in range(30)]])
    places = by_learner(learners, 0.2, 0.2, seed=0).tolist()
    assert "".join(map(str, places)) == PLACES
    assert places != by_learner(learners, 0.2, 0.2, seed=1).tolist()


PLACES = "110102021121100010000111011000"


@settings(max_examples=50, deadline=None)
@given(
    first=st.lists(st.integers(0, 50), min_size=1),
    second=st.lists(st.integers(0, 50), min_size=1),
)
def test_a_learner_stays_in_their_split_when_data_is_added(
    first: list[int], second: list[int]
) -> None:
    before = by_learner(pa.chunked_array([first]), 0.2, 0.2, seed=3)
    after = by_learner(pa.chunked_array([second, first]), 0.2, 0.2, seed=3)
    assert after[len(second) :].tolist() == before.tolist()


@settings(max_examples=40, deadline=None)
@given(days=st.lists(st.integers(0, 20), min_size=1), share=st.floats(0, 0.45))
def test_in_time_each_split_ends_before_the_next_begins(days: list[int], share: float) -> None:
    places = by_time(pa.chunked_array([days]), share, share)
    order = np.argsort(days, kind="stable")
    assert (np.diff(places[order]) >= 0).all()
    assert len(set(zip(days, places.tolist(), strict=True))) == len(set(days))


def test_by_time_the_last_rows_are_the_test(tmp_path: Path) -> None:
    examples = run(tmp_path, attempts(20), time_column="day", validation=0.2, test=0.3)
    days = {name: examples.table(name)["day"].to_pylist() for name in examples.names}
    assert (max(days["train"]), min(days["validation"])) == (4, 5)
    assert (max(days["validation"]), min(days["test"])) == (6, 7)


def test_a_share_of_nothing_makes_no_split(tmp_path: Path) -> None:
    assert run(tmp_path, attempts(), by="learner", test=0.0).names == ("train", "validation")


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "neither": (
        {},
        "Rows are split by learner or by time.\n  where:    parameters 'by' and 'time_column'\n"
        "  expected: one of them\n  received: neither",
    ),
    "both": (
        {"by": "learner", "time_column": "day"},
        "Rows are split by learner or by time.\n  where:    parameters 'by' and 'time_column'\n"
        "  expected: one of them\n  received: both",
    ),
    "no such column": (
        {"by": "lerner"},
        "The table 'attempts' has no column 'lerner'.\n  where:    parameter 'by'\n"
        "  expected: did you mean 'learner'?\n  received: 'lerner'",
    ),
    "nothing left": (
        {"by": "learner", "validation": 0.5, "test": 0.5},
        "The shares of validation and test leave nothing to train on.\n"
        "  where:    parameters 'validation' and 'test'\n"
        "  expected: shares of at least 0 that sum to less than 1\n  received: 0.5 and 0.5",
    ),
    "rows without a value": (
        {"by": "group"},
        "A row without a value cannot be put in a split.\n"
        "  where:    table 'attempts', column 'group'\n"
        "  expected: a value in each row\n  received: 1 rows without one",
    ),
    "one learner": (
        {"by": "school"},
        "The split 'validation' is empty.\n  where:    table 'attempts'\n"
        "  expected: learners or moments enough for each split\n  received: 2,000 rows",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_explained(name: str, tmp_path: Path) -> None:
    table = attempts()
    table = table.append_column("group", pa.array([None, *range(table.num_rows - 1)]))
    table = table.append_column("school", pa.array(["one"] * table.num_rows))
    parameters, message = MISTAKES[name]
    with pytest.raises(UsageError) as error:
        run(tmp_path, table, **parameters)
    assert str(error.value) == message
