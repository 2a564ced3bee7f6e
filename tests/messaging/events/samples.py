"""Events to send in tests."""

from __future__ import annotations

from typing import Any

ENVELOPE = {"version": 1, "source": "platform", "at": "2026-03-02T09:30:00Z", "learner": "p-1"}
OF_KIND: dict[str, dict[str, Any]] = {
    "assessment": {"course": "AAA", "presentation": "2026B", "assessment": "a1", "score": 71.5},
    "attempt": {"skill": "fractions", "item": "f-12", "correct": True},
    "click": {"course": "AAA", "presentation": "2026B", "site": "s9", "clicks": 3},
    "enrolment": {"course": "AAA", "presentation": "2026B", "action": "enrolled"},
}


def event(sequence: int = 1, kind: str = "attempt", **changes: Any) -> dict[str, Any]:
    """Make an event; a field that is changed to ``...`` is left out."""
    made = {**ENVELOPE, "sequence": sequence, "kind": kind, **OF_KIND[kind], **changes}
    return {name: value for name, value in made.items() if value is not ...}
