"""Pipelines whose runs the page is tested on; every table names learners, no document does."""

from __future__ import annotations

import logging

from learnloop.artifacts import (
    Blessing,
    Evaluation,
    Examples,
    Model,
    PublishedModel,
    Records,
    RegisteredModel,
    ValidationReport,
)
from learnloop.component import Input, Output, component
from learnloop.errors import GateRefused, LearnLoopError
from learnloop.pipeline import pipeline

LEARNERS = tuple(f"learner-{number}-secret" for number in range(6))


@component
def read(records: Output[Records], quarantine: Output[Records]) -> None:
    """Write raw rows of learners, and refuse one."""
    import pyarrow as pa

    records.write("attempts", pa.table({"learner": LEARNERS, "correct": [1, 0] * 3}))
    quarantine.write("rejected", pa.table({"text": [LEARNERS[0]], "reason": ["no answer"]}))
    quarantine.describe(reasons={"attempts": {"no answer": 1}})


@component
def split(records: Input[Records], examples: Output[Examples]) -> None:
    """Split by learner."""
    rows = records.table("attempts")
    examples.write("train", rows.slice(0, 4))
    examples.write("test", rows.slice(4))


@component
def check(examples: Input[Examples], report: Output[ValidationReport]) -> None:
    """Find one thing wrong."""
    failed = {
        "source": "tfdv",
        "passed": False,
        "severity": "warning",
        "where": "test.correct",
        "what": "Few values.",
        "expected": "many",
        "received": "2",
        "next": "collect more",
    }
    report.write({"passed": True, "summary": {}, "checks": [failed]})


@component
def fit(examples: Input[Examples], model: Output[Model], *, breaks: bool) -> None:
    """Pretend to train."""
    import json

    if breaks:
        logging.getLogger("tests").warning("epoch 3 of 40")
        raise LearnLoopError("The loss stopped being a number.", where="epoch 4")
    document = {"curves": {"loss": [0.7, 0.6]}, "best_epoch": 2, "parameters": {"epochs": 2}}
    (model.path / "training.json").write_text(json.dumps(document))


@component
def measure(
    model: Input[Model],
    examples: Input[Examples],
    evaluation: Output[Evaluation],
    blessing: Output[Blessing],
    *,
    auc: float,
) -> None:
    """Pretend to measure."""
    reasons = [] if auc >= 0.7 else [f"The AUC is {auc}."]
    evaluation.write({"metrics": {"test": {"auc": auc}}})
    blessing.write({"blessed": not reasons, "reasons": reasons, "warnings": []})
    if reasons:
        raise GateRefused(reasons)


@component
def publish(
    model: Input[Model],
    blessing: Input[Blessing],
    registered: Output[RegisteredModel],
    published: Output[PublishedModel],
) -> None:
    """Pretend to publish."""
    registered.write({"name": "mastery", "version": "4"})
    published.write({"name": "mastery", "version": "4", "path": "models/mastery/4"})


@pipeline
def mastery(auc: float = 0.8, breaks: bool = False) -> None:
    """Go from raw rows to a published model."""
    examples = split(read().records).examples
    check(examples)
    model = fit(examples, breaks=breaks).model
    judged = measure(model, examples, auc=auc)
    publish(model, judged.blessing)
