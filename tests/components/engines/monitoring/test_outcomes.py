"""Outcomes come late, and each is joined to what was predicted before it was known."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from components.engines.monitoring.outcomes import join_outcomes, read_outcomes, watched_columns
from components.engines.monitoring.windows import Window
from learnloop.errors import UsageError


def day(number: int) -> datetime:
    return datetime(2026, 3, number, tzinfo=UTC)


MOMENT = pa.timestamp("us", "UTC")
WEEK = Window(day(8), day(15))


def predictions(*rows: tuple[str | None, int, float]) -> pa.Table:
    subjects, days, scores = zip(*rows, strict=True)
    return pa.table(
        {
            "subject": pa.array(subjects, pa.string()),
            "time": pa.array([day(number) for number in days], MOMENT),
            "score": scores,
        }
    )


def outcomes(*rows: tuple[str, int, int]) -> pa.Table:
    subjects, days, values = zip(*rows, strict=True)
    return pa.table(
        {
            "subject": pa.array(subjects, pa.string()),
            "known_at": pa.array([day(number) for number in days], MOMENT),
            "outcome": values,
        }
    )


def test_a_prediction_is_judged_when_its_outcome_becomes_known() -> None:
    joined = join_outcomes(
        predictions(("ada", 1, 0.9), ("bob", 2, 0.2), ("eve", 3, 0.5), ("dan", 9, 0.4)),
        outcomes(("ada", 9, 1), ("bob", 20, 0), ("dan", 10, 0)),
        WEEK,
    )
    assert joined.select(["subject", "score", "outcome"]).to_pylist() == [
        {"subject": "ada", "score": 0.9, "outcome": 1},
        {"subject": "dan", "score": 0.4, "outcome": 0},
    ]


def test_what_was_known_before_is_no_outcome_of_a_prediction() -> None:
    """Of several outcomes of a subject the first after the question counts."""
    joined = join_outcomes(
        predictions(("ada", 9, 0.9), ("ada", 11, 0.8)),
        outcomes(("ada", 8, 0), ("ada", 10, 1), ("ada", 12, 0)),
        WEEK,
    )
    assert joined.select(["score", "outcome"]).to_pylist() == [
        {"score": 0.9, "outcome": 1},
        {"score": 0.8, "outcome": 0},
    ]


def test_who_is_not_named_has_no_outcome() -> None:
    assert join_outcomes(predictions((None, 1, 0.9)), outcomes(("ada", 9, 1)), WEEK).num_rows == 0


def test_reading(tmp_path: Path) -> None:
    rows = outcomes(("ada", 9, 1))
    parquet.write_table(rows.append_column("note", pa.array(["x"])), tmp_path / "part.parquet")
    assert read_outcomes(tmp_path).equals(rows)


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_outcomes(tmp_path / "none")
    assert str(error.value) == (
        "There is no folder of outcomes.\n"
        f"  where:    {tmp_path / 'none'}\n"
        "  expected: Parquet parts with subject, known_at, outcome"
    )
    parquet.write_table(pa.table({"subject": ["ada"], "knownat": [1]}), tmp_path / "part.parquet")
    with pytest.raises(UsageError) as error:
        read_outcomes(tmp_path)
    assert str(error.value) == (
        "The outcomes have no column 'known_at'.\n"
        f"  where:    {tmp_path}\n"
        "  expected: did you mean 'knownat'?\n"
        "  received: subject, knownat"
    )


def test_what_can_be_watched() -> None:
    assert watched_columns(["a", "b", "label"], ["b", "a", "score"], ()) == ("a", "b")
    assert watched_columns(["a", "b"], ["a", "b"], ("b",)) == ("b",)
    with pytest.raises(UsageError) as error:
        watched_columns(["clicks"], ["clicks"], ("click",))
    assert error.value.what == "The column 'click' cannot be watched."
