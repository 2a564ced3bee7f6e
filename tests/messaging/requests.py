"""Requests for tests, and a strategy that makes any."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from messaging.messages import RetrainRequest

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def message_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def a_request(number: int, minutes: float = 0.0, **changed: Any) -> RetrainRequest:
    """The request of a number, asked so many minutes after noon."""
    values: dict[str, Any] = {
        "message_id": message_id(number),
        "pipeline": "learner_outcome",
        "reason": "new_data",
        "requested_by": "ingest",
        "requested_at": NOON + timedelta(minutes=minutes),
        "evidence": {"new_labelled_rows": 5000},
    }
    return RetrainRequest(**{**values, **changed})


def estimate(value: float, half: float = 0.005) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "rows": 10_000}


requests = st.builds(
    a_request,
    number=st.integers(1, 40),
    minutes=st.integers(0, 50),
    pipeline=st.sampled_from(["learner_outcome", "knowledge_tracing"]),
    parameters=st.sampled_from([{}, {"epochs": 20}, {"epochs": 20, "day": 30}]),
    override=st.sampled_from(["", "", "", "marks were corrected"]),
    evidence=st.builds(lambda rows: {"new_labelled_rows": rows}, st.integers(0, 1000)),
)
