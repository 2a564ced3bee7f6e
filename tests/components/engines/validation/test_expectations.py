from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from components.engines.validation.expectations import check_expectations
from components.engines.validation.suite import read_suite
from learnloop.errors import UsageError

TABLE = pa.table(
    {
        "score": pa.array([10.0, 55.5, 101.25, None], pa.float32()),
        "clicks": [3, 4, None, 9],
        "due": [1, 4, 2, 2],
        "gender": ["F", "M", "X", "F"],
        "learner": ["l1", "l1", "l2", "l3"],
        "answers": [[0, 1], [2], None, [1, 1]],
    }
)


class Rows:
    """One table, as every split."""

    counts: ClassVar[dict[str, int]] = {"train": TABLE.num_rows, "test": TABLE.num_rows}

    def schema(self, name: str) -> pa.Schema:
        return TABLE.schema

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        return TABLE.select(columns)

    def batches(
        self, name: str, rows: int = 2, columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        yield from TABLE.select(columns).to_batches(rows)


def judge(*entries: dict[str, Any], split: str = "train", **how: Any) -> list[Any]:
    suite = read_suite(json.dumps(entries), "suite.json")
    return check_expectations(suite, Rows(), split, suite_name="suite.json", **how)


def expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


@pytest.mark.parametrize("rows_together", [1_000_000, 3, 1])
def test_each_expectation_is_told_with_what_was_found(rows_together: int) -> None:
    """However many rows are converted at a time."""
    checks = judge(
        expect("column_values_to_be_between", column="score", min_value=0, max_value=100),
        expect("column_values_to_be_in_set", column="gender", value_set=["F", "M"]),
        expect("column_values_to_match_regex", column="gender", regex="^[A-Z]$"),
        expect("column_values_to_not_be_null", column="clicks"),
        expect("column_values_to_not_be_null", column="due"),
        expect("column_mean_to_be_between", column="due", min_value=3),
        expect("table_row_count_to_be_between", min_value=4),
        expect("column_pair_values_a_to_be_greater_than_b", column_A="clicks", column_B="due"),
        expect("column_values_to_be_in_set", column="answers", value_set=[0, 1]),
        expect("column_to_exist", column="score"),
        expect("table_columns_to_match_set", column_set=["score", "due"], exact_match=False),
        rows_together=rows_together,
    )
    assert [(check.where, check.passed, check.expected, check.received) for check in checks] == [
        (
            "train.score",
            False,
            "min_value 0, max_value 100",
            "1 of 4 values fail, for example 101.2",
        ),
        ("train.gender", False, "value_set 'F', 'M'", "1 of 4 values fail, for example 'X'"),
        ("train.gender", True, "regex ^[A-Z]$", "all of 4 values"),
        ("train.clicks", False, "", "1 of 4 values fail"),
        ("train.due", True, "", "all of 4 values"),
        ("train.due", False, "min_value 3", "2.25"),
        ("train", True, "min_value 4", "4"),
        ("train.clicks, due", False, "", "2 of 4 values fail, for example (4, 4), (None, 2)"),
        ("train.answers", False, "value_set 0, 1", "1 of 5 values fail, for example 2"),
        ("train.score", True, "", "so it is"),
        (
            "train",
            True,
            "column_set 'score', 'due', exact_match False",
            "'answers', 'clicks', 'due', 'gender', 'learner', 'score'",
        ),
    ]
    assert checks[0].reason() == (
        "train.score: The expectation 'column values to be between' is not met (expected "
        "min_value 0, max_value 100; received 1 of 4 values fail, for example 101.2)."
    )
    assert checks[0].next == (
        "correct 'score' at its source, or edit suite.json if it is meant, and run again"
    )


@pytest.mark.parametrize("rows_together", [1_000_000, 2])
@pytest.mark.parametrize(("mostly", "passed"), [(0.5, True), (0.66, True), (0.67, False)])
def test_enough_of_the_values_that_are_there_must_fit(
    rows_together: int, mostly: float, passed: bool
) -> None:
    entry = expect("column_values_to_be_between", column="score", max_value=100, mostly=mostly)
    assert [check.passed for check in judge(entry, rows_together=rows_together)] == [passed]


class Counted(Rows):
    """Remembers what was read at once."""

    def __init__(self) -> None:
        self.read: list[tuple[int, tuple[str, ...]]] = []

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        self.read.append((TABLE.num_rows, tuple(columns or ())))
        return super().table(name, columns)

    def batches(
        self, name: str, rows: int = 2, columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        for batch in super().batches(name, rows, columns):
            self.read.append((batch.num_rows, tuple(batch.schema.names)))
            yield batch


def test_large_splits_are_read_in_parts_and_only_where_asked() -> None:
    entries = [
        expect("column_values_to_be_between", column="score", min_value=0),
        expect("column_values_to_be_in_set", column="gender", value_set=["F"]),
        expect("column_mean_to_be_between", column="due", min_value=3),
        expect("table_row_count_to_be_between", min_value=4),
    ]
    rows = Counted()
    suite = read_suite(json.dumps(entries), "suite.json")
    check_expectations(suite, rows, "train", suite_name="suite.json", rows_together=2)
    assert rows.read == [(2, ("gender", "score")), (2, ("gender", "score")), (4, ("due",))]


def test_great_expectations_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    judge(expect("column_mean_to_be_between", column="due", min_value=3))
    assert capfd.readouterr() == ("", "")


def test_values_of_hidden_columns_are_not_shown() -> None:
    unique = expect("column_values_to_be_unique", column="learner")
    assert [check.received for check in judge(unique)] == ["2 of 4 values fail, for example 'l1'"]
    assert [check.received for check in judge(unique, hidden=("learner",))] == [
        "2 of 4 values fail"
    ]


def test_an_absent_column_is_a_failed_check() -> None:
    (check,) = judge(expect("column_values_to_be_between", column="scor", min_value=0))
    assert (check.passed, check.expected, check.received) == (
        False,
        "the column 'scor'",
        "no such column; did you mean 'score'?",
    )


def test_what_cannot_be_judged_fails_with_the_fault() -> None:
    (check,) = judge(expect("column_mean_to_be_between", column="gender", min_value=0))
    assert not check.passed
    assert check.received == "it could not be judged: Could not convert FMXF to numeric"


def test_an_expectation_is_for_its_splits_and_of_its_severity() -> None:
    entry = {
        **expect("column_values_to_be_unique", column="gender"),
        "splits": ["test"],
        "severity": "warning",
    }
    assert judge(entry, split="train") == []
    (check,) = judge(entry, split="test")
    assert (check.passed, check.severity, check.refuses) == (False, "warning", False)


def test_an_unknown_expectation_is_answered_with_the_closest() -> None:
    with pytest.raises(UsageError) as refusal:
        judge(expect("column_value_to_be_betwen", column="score"))
    assert str(refusal.value) == (
        "Great Expectations knows no such expectation.\n"
        "  where:    suite.json\n"
        "  expected: did you mean 'expect_column_values_to_be_between'?\n"
        "  received: 'expect_column_value_to_be_betwen'"
    )


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(UsageError) as refusal:
        judge(expect("column_to_exist", colum="score"))
    assert str(refusal.value) == (
        "An expectation does not take these arguments.\n"
        "  where:    suite.json, expect_column_to_exist\n"
        "  expected: the arguments in Great Expectations' gallery\n"
        "  received: 2 validation errors for ExpectColumnToExist column field required "
        "(type=value_error.missing) colum extra fields not permitted (type=value_error.extra)"
    )
