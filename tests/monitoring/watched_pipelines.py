"""A pipeline that watches a model, and two that do not end well."""

from __future__ import annotations

from components.monitor import monitor
from learnloop.artifacts import Evaluation, Examples
from learnloop.component import Input, Output, component
from learnloop.errors import GateRefused
from learnloop.pipeline import pipeline


@component
def look_up(reference: Output[Examples], evaluation: Output[Evaluation]) -> None:
    """Give what the model was trained on, and how good it was."""
    import pyarrow as pa

    from tests.components.test_monitor import rows_of

    reference.write("train", pa.table(rows_of(100)))
    figures = {"rows": 4_000, "auc": 0.74, "auc_interval": [0.72, 0.76]}
    evaluation.write({"judged": "test", "metrics": {"test": figures}})


@component
def gate(examples: Input[Examples]) -> None:
    """Refuse whatever comes."""
    raise GateRefused(["It is not good enough."])


@component
def break_down(examples: Input[Examples]) -> None:
    """Fail."""
    raise ValueError("no")


@pipeline
def watching(model: str, since: str, until: str, outcomes: str) -> None:
    """Look at a model in service."""
    known = look_up()
    monitor(
        known.reference,
        known.evaluation,
        None,
        model=model,
        since=since,
        until=until,
        outcomes=outcomes,
    )


@pipeline
def refused_one() -> None:
    """End refused."""
    gate(look_up().reference)


@pipeline
def failing_one() -> None:
    """End failed."""
    break_down(look_up().reference)
