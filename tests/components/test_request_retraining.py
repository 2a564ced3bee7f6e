"""A report with a reason becomes one request, however often the step runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.request_retraining import request_retraining
from learnloop.artifacts import MonitoringReport
from learnloop.component import Context
from messaging.broker import QUEUE, opened_channel
from messaging.messages import RetrainRequest, parse_request

pytestmark = pytest.mark.xdist_group("rabbitmq")

DRIFT = {"column": "score", "value": 0.27, "chance": 0.001, "is_drift": True}
CALM = {"column": "course", "value": 0.01, "chance": 0.001, "is_drift": False}
QUALITY = {
    "rows": 900, "auc": 0.61, "auc_interval": [0.58, 0.64], "evaluated_rows": 4_000,
    "evaluated_auc": 0.74, "evaluated_auc_interval": [0.72, 0.76], "has_fallen": True,
}  # fmt: skip


PARAMETERS = {"source": "data/exams", "epochs": 20}


def ask(folder: Path, **changes: Any) -> None:
    report = MonitoringReport.create(folder / "report")
    report.write({"reasons": ["It moved."], "features": [DRIFT, CALM], "scores": []} | changes)
    context = Context.for_test(folder)
    request_retraining.function(report, pipeline="exams", parameters=PARAMETERS, context=context)


def requests(broker: str, count: int) -> list[RetrainRequest]:
    with opened_channel(broker) as channel:
        answers = channel.consume(QUEUE, auto_ack=True)
        return [parse_request(body) for _, (_, _, body) in zip(range(count), answers, strict=False)]


@pytest.fixture(autouse=True)
def address(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNLOOP_RABBITMQ", broker)


def test_drift_asks_with_its_figures(broker: str, tmp_path: Path) -> None:
    for attempt in ("first", "again"):
        (tmp_path / attempt).mkdir()
        ask(tmp_path / attempt, quality=None)
    first, again = requests(broker, 2)
    assert (first.pipeline, first.reason, first.requested_by) == ("exams", "drift", "monitor")
    assert first.evidence == {
        "note": "It moved.",
        "drift": [{"feature": "score", "score": 0.27, "threshold": 0.001}],
        "report": "learnloop show by-hand",
    }
    assert first.parameters == PARAMETERS
    assert first.message_id == again.message_id, "the listener takes it once"


def test_a_model_that_got_worse_asks_with_both_intervals(broker: str, tmp_path: Path) -> None:
    ask(tmp_path, quality=QUALITY)
    (request,) = requests(broker, 1)
    assert request.reason == "live_quality"
    assert request.evidence["new_labelled_rows"] == 900
    assert request.evidence["live"] == {
        "value": 0.61, "low": 0.58, "high": 0.64, "rows": 900,
    }  # fmt: skip
    assert request.evidence["evaluated"] == {
        "value": 0.74, "low": 0.72, "high": 0.76, "rows": 4_000,
    }  # fmt: skip


def test_no_reason_no_request_and_no_broker_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LEARNLOOP_RABBITMQ")
    ask(tmp_path, reasons=[], quality=None)
