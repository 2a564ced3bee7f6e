"""The data gate: schema, drift, skew and expectations, one report, and a refusal with reasons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from components.engines.validation.anomalies import by_a_draft, check_schema
from components.engines.validation.checks import REFUSING, SOURCES, Check, only_warn
from components.engines.validation.comparison import compare
from components.engines.validation.expectations import check_expectations
from components.engines.validation.page import render
from components.engines.validation.schema import SERVING, TRAINING, infer_schema, read_schema
from components.engines.validation.suite import read_suite
from learnloop.artifacts import Examples, Schema, Statistics, ValidationReport
from learnloop.component import Context, File, Input, Output, component
from learnloop.errors import GateRefused, UsageError, closest

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

PAGE = "report.html"
"""The page's name in the report's folder."""


@component
def validate(
    statistics: Input[Statistics],
    examples: Input[Examples],
    reference: Input[Statistics] | None,
    serving: Input[Statistics] | None,
    report: Output[ValidationReport],
    schema: Output[Schema],
    *,
    schema_file: File | None = None,
    expectations: File | None = None,
    train: str = "train",
    drift_threshold: float | None = 0.1,
    skew_threshold: float | None = 0.2,
    refuse_on: tuple[str, ...] = REFUSING,
    hidden: tuple[str, ...] = ("learner",),
    context: Context,
) -> None:
    """Judge the data, write the report and the schema, and refuse data that is not fit.

    Every split is judged by the schema and the suite; the training split is compared with the
    reference (drift), and with the other splits and what the served model was asked (skew).

    Args:
        statistics: TFDV statistics by split.
        examples: The same rows, for the expectations.
        reference: Statistics of earlier data (:mod:`components.reference`).
        serving: Statistics of what the served model was asked; every split in it is judged in the
            schema's environment ``SERVING``.
        report: Every check as JSON, and ``report.html`` beside it.
        schema: The schema judged by, for the steps that follow.
        schema_file: The curated schema; when None, one is drafted from the training split: other
            columns or types in another split refuse, other values only warn.
        expectations: A suite (see :mod:`components.engines.validation.suite`).
        train: The split that others are compared with.
        drift_threshold: The share of a column's values that may have moved since the reference,
            0 to 1, where the schema has no ``drift_comparator`` for it; None compares only the
            columns that have one.
        skew_threshold: The same between splits, and for ``skew_comparator``; larger, since splits
            by time are meant to differ.
        refuse_on: Whose errors refuse the data: ``tfdv``, ``great_expectations``, ``drift``,
            ``skew``; those of the others become warnings. Drift only warns unless it is named.
        hidden: Columns whose values never appear in the report, such as identifiers of people.
        context: Takes progress.

    Raises:
        GateRefused: A check failed; the report is written.
        UsageError: A schema, suite or parameter is wrong.
    """
    _require_known(refuse_on, SOURCES, "refuse_on")
    _require_known((train,), statistics.splits, "train")
    curated = _schema(schema_file, statistics, train)
    schema.write(curated)
    name = str(schema_file) if schema_file else f"the schema drafted from {train}"
    by_schema = list(_by_schema(statistics, serving, curated, name))
    checks = only_warn(
        (
            *(by_schema if schema_file else by_a_draft(by_schema)),
            *_by_comparison(
                statistics, reference, serving, curated, train, drift_threshold, skew_threshold
            ),
            *_by_expectations(examples, expectations, hidden, context),
        ),
        refuse_on,
    )
    _write(report, checks, statistics)
    refused = [check for check in checks if check.refuses]
    if refused:
        raise GateRefused(
            [check.reason() for check in refused], next=f"learnloop show {context.run_id}"
        )


def _require_known(names: tuple[str, ...], known: tuple[str, ...], parameter: str) -> None:
    for name in names:
        if name not in known:
            raise UsageError(
                "A parameter names something that does not exist.",
                where=f"validate, parameter '{parameter}'",
                expected=closest(name, known),
                received=repr(name),
            )


def _schema(file: File | None, statistics: Statistics, train: str) -> schema_pb2.Schema:
    if file is None:
        return infer_schema(statistics.load(train))
    return read_schema(file.read_text(), file)


def _by_schema(
    statistics: Statistics, serving: Statistics | None, schema: schema_pb2.Schema, name: str
) -> Iterator[Check]:
    for split in statistics.splits:
        yield from check_schema(
            statistics.load(split), schema, split=split, environment=TRAINING, schema_name=name
        )
    if serving is None:
        return
    for split in serving.splits:
        yield from check_schema(
            serving.load(split),
            schema,
            split=f"serving {split}",
            environment=SERVING,
            schema_name=name,
        )


def _by_comparison(
    statistics: Statistics,
    reference: Statistics | None,
    serving: Statistics | None,
    schema: schema_pb2.Schema,
    train: str,
    drift_threshold: float | None,
    skew_threshold: float | None,
) -> Iterator[Check]:
    mine = statistics.load(train)
    if reference is not None:
        yield from compare(
            "drift",
            mine,
            reference.load(train),
            schema,
            threshold=drift_threshold,
            split=train,
            against="the reference",
        )
    others = [(split, statistics.load(split)) for split in statistics.splits if split != train]
    if serving is not None:
        others += [(f"serving {split}", serving.load(split)) for split in serving.splits]
    for split, theirs in others:
        yield from compare(
            "skew", mine, theirs, schema, threshold=skew_threshold, split=train, against=split
        )


def _by_expectations(
    examples: Examples, file: File | None, hidden: tuple[str, ...], context: Context
) -> Iterator[Check]:
    if file is None:
        return
    suite = read_suite(file.read_text(), file)
    for split in examples.names:
        context.report(f"expectations of {split}")
        yield from check_expectations(suite, examples, split, suite_name=str(file), hidden=hidden)


def _write(report: ValidationReport, checks: list[Check], statistics: Statistics) -> None:
    by_split = {split: statistics.load(split) for split in statistics.splits}
    failed = [check for check in checks if not check.passed]
    summary: dict[str, Any] = {
        "rows": {split: int(s.datasets[0].num_examples) for split, s in by_split.items()},
        "checks": len(checks),
        "errors": sum(check.refuses for check in failed),
        "warnings": sum(not check.refuses for check in failed),
    }
    report.write(
        {
            "passed": summary["errors"] == 0,
            "summary": summary,
            "checks": [check.to_document() for check in checks],
        }
    )
    (report.path / PAGE).write_text(render(checks, by_split), encoding="utf-8")
    report.describe(passed=summary["errors"] == 0, **summary)
