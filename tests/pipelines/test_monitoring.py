"""The monitoring pipeline, whole: what the champion was made from, a week of its log, a request."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from learnloop.artifacts import Evaluation, Examples
from learnloop.component import Input, Output, component
from learnloop.pipeline import pipeline
from learnloop.settings import Settings
from messaging.broker import QUEUE, opened_channel
from messaging.messages import parse_request
from pipelines.monitoring.pipeline import monitoring
from serving.registry import CHAMPION
from tests.components.test_monitor import MODEL, rows_of, write_week
from tests.components.test_served import register

pytestmark = pytest.mark.xdist_group("rabbitmq")


@component
def gather(rows: Output[Examples]) -> None:
    """Make what the model learns from."""
    rows.write("train", pa.table(rows_of(100)))


@component
def judge(examples: Input[Examples], report: Output[Evaluation]) -> None:
    """Stand for training and evaluation."""
    figures = {"rows": examples.table("train").num_rows, "auc": 0.74, "auc_interval": [0.72, 0.76]}
    report.write({"judged": "test", "metrics": {"test": figures}})


@component
def sign(evaluation: Input[Evaluation], signed: Output[Evaluation]) -> None:
    """Stand for registering."""
    signed.write(evaluation.load())


@pipeline
def learning() -> None:
    """Make a model."""
    sign(judge(gather().rows).report)


def test_a_calm_week_then_drift(
    settings: Settings, tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(settings, tmp_path, learning.run_in(settings).id, "0", CHAMPION)
    for week in range(8):
        write_week(settings, week)
    calm = monitoring.run_in(settings, model=MODEL, since="2026-04-20", until="2026-04-27")
    assert calm.status == "done", calm.error
    assert calm.artifacts["monitor.report"].load()["reasons"] == []
    again = monitoring.run_in(settings, model=MODEL, since="2026-04-20", until="2026-04-27")
    assert {result.status for result in again.results.values()} == {"cached"}

    write_week(settings, 8, shift=-20.0)
    without = monitoring.run_in(settings, model=MODEL, since="2026-04-27", until="2026-05-04")
    assert without.status == "failed", "a reason that nobody can be told is a fault"
    assert "LEARNLOOP_RABBITMQ" in str(without.error)

    monkeypatch.setenv("LEARNLOOP_RABBITMQ", broker)
    told = monitoring.run_in(settings, model=MODEL, since="2026-04-27", until="2026-05-04")
    statuses = {name: result.status for name, result in told.results.items()}
    assert statuses == {"load_served": "cached", "monitor": "cached", "request_retraining": "done"}
    with opened_channel(broker) as channel:
        _, _, body = next(channel.consume(QUEUE, auto_ack=True))
    request = parse_request(body)
    assert (request.pipeline, request.reason) == (MODEL, "drift")
    assert request.evidence["report"] == f"learnloop show {told.id}"
