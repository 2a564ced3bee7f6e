"""What makes runs: Airflow, or this machine. It may be asked for one run again and again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from messaging.records import Decision


class Answer(StrEnum):
    """What a target says."""

    started = "started"
    rejected = "rejected"
    unknown = "unknown"
    unavailable = "unavailable"
    unreachable = "unreachable"


@dataclass(frozen=True)
class Reply:
    """A target's answer.

    Args:
        answer: ``started``: the run is there. ``rejected``: it will never be. ``unknown``: there is
            no such pipeline yet. ``unavailable``: ask later. ``unreachable``: it does not answer
            at all.
        said: What the target said, for people.
    """

    answer: Answer
    said: str = ""


class Target(Protocol):
    """Makes runs."""

    def create(self, decision: Decision) -> Reply:
        """Make the run of a decision, or find that it is there.

        Args:
            decision: Approved, and so with a run id.
        """

    def close(self) -> None:
        """Let go of what is held."""


def cause_of(decision: Decision) -> str:
    """Say why a run exists, for Airflow's form and the ledger."""
    return (
        f"message {decision.id} ({decision.reason}, asked by {decision.requested_by}). "
        f"{decision.sentence}"
    )
