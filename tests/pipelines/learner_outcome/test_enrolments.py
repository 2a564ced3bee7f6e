"""Splits by presentation, and the mistakes a person can make with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.engines.readers.oulad import table_schema
from learnloop.artifacts import Records
from learnloop.errors import UsageError
from pipelines.learner_outcome.enrolments import split_by_presentation
from tests.pipelines.learner_outcome.conftest import make_examples


def enrolments() -> pa.Table:
    presentations = ["2013B", "2013J", "2014B", "2014J"]
    return pa.table(
        {
            "learner": pa.array([number // 2 for number in range(800)], pa.int64()),
            "code_presentation": [presentations[number % 4] for number in range(800)],
        }
    )


def test_a_learner_of_the_training_presentations_is_in_one_split() -> None:
    parts = split_by_presentation(enrolments(), ("2014J",), 0.15)
    learners = {name: set(part["learner"].to_pylist()) for name, part in parts.items()}
    assert learners["train"].isdisjoint(learners["validation"])
    assert set(parts["test"]["code_presentation"].to_pylist()) == {"2014J"}
    assert sum(part.num_rows for part in parts.values()) == 800
    assert 40 <= len(learners["validation"]) <= 80


def test_the_validation_learners_do_not_depend_on_the_test_presentation() -> None:
    rows = enrolments()
    without = rows.filter(pa.compute.not_equal(rows["code_presentation"], "2014J"))
    whole = split_by_presentation(rows, ("2014J",), 0.15)["validation"]
    assert split_by_presentation(without, ("2014J",), 0.15)["validation"].equals(whole)


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown presentation": (
        {"test_presentations": ("2014K",)},
        "There is no presentation '2014K'.\n  where:    table 'courses'\n"
        "  expected: did you mean '2014J'?\n  received: '2014K'",
    ),
    "trained on and judged by": (
        {"test_presentations": ("2013B", "2014J")},
        "A presentation cannot be trained on and judge the model.\n"
        "  where:    parameters 'train_presentations' and 'test_presentations'\n"
        "  expected: no presentation in both\n  received: 2013B",
    ),
    "nobody there": (
        {},
        "The split 'train' is empty.\n  where:    day 60\n"
        "  expected: enrolments on the roll on this day\n  received: none",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_explained(name: str, tmp_path: Path) -> None:
    records = Records.create(tmp_path / "records")
    for table in (
        "assessments",
        "studentInfo",
        "studentRegistration",
        "studentAssessment",
        "studentVle",
    ):
        records.write(table, [], table_schema(table))
    courses = [
        {"code_module": "AAA", "code_presentation": name, "module_presentation_length": 250}
        for name in ("2013B", "2013J", "2014B", "2014J")
    ]
    records.write("courses", pa.Table.from_pylist(courses, table_schema("courses")))
    parameters, message = MISTAKES[name]
    with pytest.raises(UsageError) as error:
        make_examples(records, tmp_path, **parameters)
    assert str(error.value) == message
