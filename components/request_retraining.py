"""Ask for retraining where a monitor has found reason to."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from learnloop.artifacts import MonitoringReport
from learnloop.component import Context, Input, Resources, component

NAMESPACE = uuid.UUID("6f1b7f0e-6c5e-4d0b-9d0c-6a4f3c2b1a90")
"""Under which a report's digest makes a message id."""


@component(resources=Resources(retries=2))
def request_retraining(
    report: Input[MonitoringReport],
    *,
    pipeline: str,
    parameters: dict[str, str | int | float] | None = None,
    context: Context,
) -> None:
    """Send a request to retrain, if the report gives a reason; the policy decides what comes of it.

    The message's id comes from the report's content: however often this step runs, the listener
    takes the request once.

    Args:
        report: What the monitor saw.
        pipeline: The pipeline to run.
        parameters: Parameters of that run which shall differ from its DAG's.
        context: Takes progress, and names the run that the request points to.

    Raises:
        LearnLoopError: The broker cannot be reached or does not take the request.
    """
    document = report.load()
    if not document["reasons"]:
        context.report("nothing calls for retraining")
        return
    from messaging.broker import broker_url
    from messaging.messages import RetrainRequest
    from messaging.publisher import Publisher

    message_id = str(uuid.uuid5(NAMESPACE, f"{pipeline} {report.content_digest()}"))
    quality = document["quality"]
    request = RetrainRequest(
        message_id=message_id,
        pipeline=pipeline,
        reason="live_quality" if quality and quality["has_fallen"] else "drift",
        requested_by="monitor",
        requested_at=datetime.now(UTC),
        parameters=parameters or {},
        evidence=_evidence(document) | {"report": f"learnloop show {context.run_id}"},
    )
    with Publisher(broker_url()) as publisher:
        publisher.send(request)
    context.report(f"requested as {message_id}")


def _evidence(document: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "note": " ".join(document["reasons"])[:1000],
        "drift": [
            {"feature": one["column"][:200], "score": one["value"], "threshold": one["chance"]}
            for name in ("features", "scores")
            for one in document[name]
            if one["is_drift"]
        ][:200],
    }
    quality = document["quality"]
    if quality:
        found["new_labelled_rows"] = quality["rows"]
        for name, prefix in (("live", ""), ("evaluated", "evaluated_")):
            if quality[f"{prefix}auc_interval"]:
                low, high = quality[f"{prefix}auc_interval"]
                found[name] = {
                    "value": quality[f"{prefix}auc"],
                    "low": low,
                    "high": high,
                    "rows": quality[f"{prefix}rows"],
                }
    return found
