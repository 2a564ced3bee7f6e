from __future__ import annotations

from typing import Any

import pytest

from components.engines.validation.anomalies import check_schema
from components.engines.validation.schema import read_schema
from learnloop.errors import UsageError

SCHEMA = """
feature { name: "score" type: FLOAT float_domain { min: 0 max: 100 }
  presence { min_fraction: 0.9 } }
feature { name: "time" type: FLOAT float_domain { disallow_nan: true disallow_inf: true } }
feature { name: "module" type: BYTES unique_constraints { min: 2 max: 3 } }
feature { name: "clicks" type: INT int_domain { min: 0 } presence { min_fraction: 1.0 }
  shape { dim { size: 1 } } }
feature { name: "gender" type: BYTES domain: "gender" presence { min_fraction: 1.0 } }
feature { name: "answers" type: INT value_count { min: 1 max: 3 } int_domain { min: 0 max: 1 } }
feature { name: "failed" type: INT bool_domain { } presence { min_fraction: 1.0 }
  not_in_environment: "SERVING" }
string_domain { name: "gender" value: "F" value: "M" }
default_environment: "TRAINING" default_environment: "SERVING"
dataset_constraints { min_examples_count: 4 }
"""
GOOD: dict[str, Any] = {
    "score": [10.5, 20.0, 90.0, 99.5],
    "time": [0.5, 1.0, 1.5, 2.0],
    "module": ["AAA", "BBB", "AAA", "BBB"],
    "clicks": [1, 2, 3, 40],
    "gender": ["F", "M", "F", "M"],
    "answers": [[0], [1, 0], [1], [1, 1, 0]],
    "failed": [0, 1, 0, 1],
}
CORRECT = "correct '{}' at its source, or edit outcome.pbtxt if it is meant, and run again"


def judge(statistics: Any, environment: str = "TRAINING") -> list[Any]:
    return check_schema(
        statistics,
        read_schema(SCHEMA, "outcome.pbtxt"),
        split="train",
        environment=environment,
        schema_name="outcome.pbtxt",
    )


def test_good_data_passes_with_a_check_for_every_column(describe: Any) -> None:
    checks = judge(describe(**GOOD))
    assert [(c.where, c.passed) for c in checks] == [(f"train.{name}", True) for name in GOOD]


BROKEN: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "a column that is missing": (
        {"gender": None},
        "train.gender: The column is missing (expected a column of text; received no such column).",
        "gender",
        CORRECT,
    ),
    "a column nobody knows": (
        {"hint": [0.5, 0.5, 0.1, 0.2]},
        "train.hint: The column is not in the schema (expected the 7 columns of the schema; "
        "received a column of floats).",
        "hint",
        "add '{}' to outcome.pbtxt, or leave the column out, and run again",
    ),
    "a new category": (
        {"gender": ["F", "M", "X", "X"]},
        "train.gender: Values are not in the domain (expected one of 'F', 'M'; received X (~50%)).",
        "gender",
        CORRECT,
    ),
    "values outside their range": (
        {"score": [-3.25, 20.0, 90.0, 130.0]},
        "train.score: Values lie outside their range (expected values from 0 to 100; "
        "received values from -3.25 to 130).",
        "score",
        CORRECT,
    ),
    "values below an open range": (
        {"clicks": [-7, 2, 3, 4]},
        "train.clicks: Values lie outside their range (expected values from 0 to any; "
        "received values from -7 to 4).",
        "clicks",
        CORRECT,
    ),
    "a truth that is neither 0 nor 1": (
        {"failed": [0, 1, 2, 1]},
        "train.failed: Values lie outside their range (expected 0 or 1; "
        "received values from 0 to 2).",
        "failed",
        CORRECT,
    ),
    "values that are no numbers": (
        {"time": [0.5, float("nan"), float("nan"), 2.0]},
        "train.time: Values are no numbers (expected finite numbers; received NaN 2 times).",
        "time",
        CORRECT,
    ),
    "infinite values": (
        {"time": [0.5, float("inf"), 1.0, 2.0]},
        "train.time: Values are infinite (expected finite numbers; "
        "received values from 0.5 to inf).",
        "time",
        CORRECT,
    ),
    "too few distinct values": (
        {"module": ["AAA"] * 4},
        "train.module: The number of distinct values is not the expected one (expected 2 to 3 "
        "distinct values; received 1).",
        "module",
        CORRECT,
    ),
    "text that is none": (
        {"gender": [b"F", b"M", b"F", b"\xff\xfe"]},
        "train.gender: Text is not valid (expected UTF-8; received other bytes in 1 value).",
        "gender",
        CORRECT,
    ),
    "another type": (
        {"clicks": ["1", "2", "3", "4"]},
        "train.clicks: The type is not the expected one (expected integers; received text).",
        "clicks",
        CORRECT,
    ),
    "too many missing": (
        {"score": [10.5, None, 90.0, None]},
        "train.score: Too many values are missing (expected a value in at least 90 % of the "
        "rows; received a value in 2 of 4 rows (50 %)).",
        "score",
        CORRECT,
    ),
    "one missing where every row has one": (
        {"clicks": [1, 2, None, 4]},
        "train.clicks: Too many values are missing (expected a value in every row; "
        "received a value in 3 of 4 rows (75 %)).",
        "clicks",
        CORRECT,
    ),
    "sequences that are too long": (
        {"answers": [[0], [1, 0], [1], [1, 1, 0, 1, 1]]},
        "train.answers: Rows have another number of values than expected (expected 1 to 3 values "
        "in a row; received 1 to 5 values in a row).",
        "answers",
        CORRECT,
    ),
}


@pytest.mark.parametrize(("change", "reason", "column", "repair"), BROKEN.values(), ids=BROKEN)
def test_broken_data_is_told_in_figures(
    describe: Any, change: dict[str, Any], reason: str, column: str, repair: str
) -> None:
    columns = {name: values for name, values in {**GOOD, **change}.items() if values is not None}
    failed = [check for check in judge(describe(**columns)) if not check.passed]
    assert [check.reason() for check in failed] == [reason]
    assert failed[0].next == repair.format(column)
    assert failed[0].severity == "error"


def test_too_few_rows_are_told_of_the_split(describe: Any) -> None:
    columns = {name: values[1:] for name, values in GOOD.items()}
    failed = [check for check in judge(describe(**columns)) if not check.passed]
    assert [check.reason() for check in failed] == [
        "train: The number of rows is not the expected one (expected at least 4 rows; "
        "received 3 rows)."
    ]
    assert failed[0].next == (
        "correct the data at its source, or edit outcome.pbtxt if it is meant, and run again"
    )


def test_the_label_is_expected_in_training_only(describe: Any) -> None:
    columns = {name: values for name, values in GOOD.items() if name != "failed"}
    assert [c.where for c in judge(describe(**columns)) if not c.passed] == ["train.failed"]
    assert [c for c in judge(describe(**columns), "SERVING") if not c.passed] == []


def test_an_unknown_environment_is_refused(describe: Any) -> None:
    with pytest.raises(UsageError) as refusal:
        judge(describe(**GOOD), "SERVIN")
    assert str(refusal.value) == (
        "The schema has no such environment.\n"
        "  where:    outcome.pbtxt\n"
        "  expected: did you mean 'SERVING'?\n"
        "  received: 'SERVIN'"
    )
