from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.statistics import statistics
from components.validate import PAGE, validate
from learnloop.artifacts import Examples, Schema, Statistics, ValidationReport
from learnloop.component import Context, File
from learnloop.errors import GateRefused, UsageError

SCHEMA = """
feature { name: "score" type: FLOAT float_domain { min: 0 max: 100 }
  presence { min_fraction: 0.9 } }
feature { name: "gender" type: BYTES domain: "gender" presence { min_fraction: 1.0 } }
feature { name: "failed" type: INT presence { min_fraction: 1.0 } not_in_environment: "SERVING" }
string_domain { name: "gender" value: "F" value: "M" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
SUITE = [
    {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "gender", "value_set": ["F", "M"]},
        "splits": ["train"],
    }
]


def rows(count: int, seed: int, shift: float = 0.0) -> pa.Table:
    draw = np.random.default_rng(seed)
    return pa.table(
        {
            "learner": [f"learner {n}" for n in range(count)],
            "score": np.clip(draw.normal(50 + shift, 10, count), 0, 100),
            "gender": draw.choice(["F", "M"], count),
            "failed": draw.integers(0, 2, count),
        }
    )


@dataclass
class Gate:
    """The gate over tables of one test."""

    folder: Path

    def describe(self, name: str, **splits: pa.Table) -> tuple[Examples, Statistics]:
        examples = Examples.create(self.folder / name / "examples")
        for split, table in splits.items():
            examples.write(split, table)
        found = Statistics.create(self.folder / name / "statistics")
        statistics.function(examples, found, context=Context.for_test(self.folder))
        return examples, found

    def judge(
        self,
        examples: Examples,
        found: Statistics,
        reference: Statistics | None = None,
        serving: Statistics | None = None,
        **parameters: Any,
    ) -> None:
        self.report = ValidationReport.create(self.folder / "report")
        self.schema = Schema.create(self.folder / "schema")
        context = Context.for_test(self.folder)
        validate.function(
            found,
            examples,
            reference,
            serving,
            self.report,
            self.schema,
            context=context,
            **parameters,
        )

    def file(self, name: str, text: str) -> File:
        (self.folder / name).write_text(text)
        return File(str(self.folder / name))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def failures(report: ValidationReport) -> list[tuple[str, str, str]]:
    return [
        (check["source"], check["where"], check["severity"])
        for check in report.load()["checks"]
        if not check["passed"]
    ]


def test_fit_data_passes_and_the_schema_becomes_an_artifact(gate: Gate) -> None:
    data = gate.describe("now", train=rows(2_000, 1), test=rows(1_000, 2))
    _, before = gate.describe("before", train=rows(2_000, 3))
    gate.judge(
        *data,
        before,
        schema_file=gate.file("schema.pbtxt", SCHEMA),
        expectations=gate.file("suite.json", json.dumps(SUITE)),
    )
    document = gate.report.load()
    assert document["passed"] is True
    assert document["summary"] == {
        "rows": {"train": 2_000, "test": 1_000},
        "checks": 13,
        "errors": 0,
        "warnings": 0,
    }
    assert {check["source"] for check in document["checks"]} == {
        "tfdv",
        "great_expectations",
        "drift",
        "skew",
    }
    assert [feature.name for feature in gate.schema.load().feature] == ["score", "gender", "failed"]
    assert "All 13 checks passed." in (gate.report.path / PAGE).read_text()


def test_unfit_data_is_refused_after_the_report_is_written(gate: Gate) -> None:
    broken = rows(1_000, 1)
    genders = pa.array(["X"] * 100 + broken["gender"].to_pylist()[100:])
    broken = broken.set_column(2, "gender", genders).drop(["failed"])
    data = gate.describe("now", train=broken)
    schema_file, suite = gate.file("s.pbtxt", SCHEMA), gate.file("suite.json", json.dumps(SUITE))
    with pytest.raises(GateRefused) as refusal:
        gate.judge(*data, schema_file=schema_file, expectations=suite)
    assert refusal.value.reasons == (
        "train.failed: The column is missing (expected a column of integers; "
        "received no such column).",
        "train.gender: Values are not in the domain (expected one of 'F', 'M'; received X (~10%)).",
        "train.gender: The expectation 'column values to be in set' is not met (expected "
        "value_set 'F', 'M'; received 100 of 1,000 values fail, for example 'X').",
    )
    assert str(refusal.value).endswith("\n  next:     learnloop show by-hand")
    assert gate.report.load()["passed"] is False
    assert gate.report.metadata["errors"] == 3
    page = (gate.report.path / PAGE).read_text()
    assert "Refused" in page
    assert "received" not in page
    assert "X (~10%)" in page
    assert gate.schema.file.exists()


def test_drift_from_the_reference_warns_and_refuses_where_asked_to(gate: Gate) -> None:
    data = gate.describe("now", train=rows(3_000, 1, shift=20))
    _, before = gate.describe("before", train=rows(3_000, 2))
    gate.judge(*data, before)
    assert failures(gate.report) == [("drift", "train.score", "warning")]
    assert gate.report.load()["passed"] is True
    again = Gate(gate.folder / "again")
    with pytest.raises(GateRefused) as refusal:
        again.judge(*data, before, refuse_on=("drift",))
    assert len(refusal.value.reasons) == 1
    assert refusal.value.reasons[0].startswith(
        "train.score: The column has drifted away from earlier data (expected Jensen-Shannon "
        "divergence from the reference of at most 0.05667; received 0."
    )


def test_skew_between_splits_is_seen_and_a_threshold_of_none_asks_for_nothing(gate: Gate) -> None:
    data = gate.describe("now", train=rows(3_000, 1), test=rows(3_000, 2, shift=20))
    gate.judge(*data, skew_threshold=None)
    assert failures(gate.report) == []
    again = Gate(gate.folder / "again")
    with pytest.raises(GateRefused):
        again.judge(*data)
    assert failures(again.report) == [("skew", "train.score", "error")]


def test_what_the_model_was_asked_has_no_label_and_is_compared(gate: Gate) -> None:
    data = gate.describe("now", train=rows(3_000, 1))
    _, serving = gate.describe("serving", log=rows(3_000, 2, shift=20).drop(["failed"]))
    schema_file = gate.file("s.pbtxt", SCHEMA)
    with pytest.raises(GateRefused):
        gate.judge(*data, None, serving, schema_file=schema_file)
    (check,) = [c for c in gate.report.load()["checks"] if not c["passed"]]
    assert check["figures"]["against"] == "serving log"
    assert check["where"] == "train.score"


def test_a_drafted_schema_refuses_other_columns_and_warns_of_other_values(gate: Gate) -> None:
    other = rows(2_000, 2)
    genders = pa.array(["X", None, *other["gender"].to_pylist()[2:]])
    test = other.set_column(2, "gender", genders)
    gate.judge(*gate.describe("values", train=rows(2_000, 1), test=test))
    assert failures(gate.report) == [("tfdv", "test.gender", "warning")] * 2
    again = Gate(gate.folder / "again")
    data = again.describe("columns", train=rows(2_000, 1), test=other.drop(["score"]))
    with pytest.raises(GateRefused) as refusal:
        again.judge(*data)
    assert refusal.value.reasons == (
        "test.score: The column is missing (expected a column of floats; received no such column).",
    )


def test_identifiers_appear_nowhere_in_the_report(gate: Gate) -> None:
    table = rows(500, 1)
    twice = pa.concat_tables([table, table])
    data = gate.describe("now", train=twice)
    suite = [{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "learner"}}]
    with pytest.raises(GateRefused):
        gate.judge(*data, expectations=gate.file("suite.json", json.dumps(suite)))
    for file in gate.report.path.iterdir():
        assert "learner 1" not in file.read_text()


def test_equal_data_gives_an_equal_report(gate: Gate) -> None:
    data = gate.describe("now", train=rows(500, 1), test=rows(500, 2))
    gate.judge(*data)
    again = Gate(gate.folder / "again")
    again.judge(*data)
    assert gate.report.content_digest() == again.report.content_digest()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"refuse_on": ("tfdv", "drft")},
            "A parameter names something that does not exist.\n"
            "  where:    validate, parameter 'refuse_on'\n"
            "  expected: did you mean 'drift'?\n"
            "  received: 'drft'",
        ),
        (
            {"train": "training"},
            "A parameter names something that does not exist.\n"
            "  where:    validate, parameter 'train'\n"
            "  expected: did you mean 'train'?\n"
            "  received: 'training'",
        ),
    ],
)
def test_names_that_do_not_exist_are_refused(
    gate: Gate, parameters: dict[str, Any], message: str
) -> None:
    data = gate.describe("now", train=rows(10, 1))
    with pytest.raises(UsageError) as refusal:
        gate.judge(*data, **parameters)
    assert str(refusal.value) == message
