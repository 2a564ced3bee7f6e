"""What the ledger keeps of requests to retrain: every message, and the decision about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from messaging.messages import RetrainRequest


class State(StrEnum):
    """How far a decision is. The last three are for ever."""

    waiting = "waiting"
    approved = "approved"
    started = "started"
    refused = "refused"
    dead_lettered = "dead_lettered"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen."""
        return self in (State.started, State.refused, State.dead_lettered)


class Outcome(StrEnum):
    """What became of a message."""

    open = "open"
    caused = "caused"
    coalesced = "coalesced"
    refused = "refused"
    dead_lettered = "dead_lettered"


@dataclass(frozen=True)
class Decision:
    """What was decided about a burst of requests.

    Args:
        id: The leader's message id.
        pipeline: The pipeline.
        parameters: Parameters of the run.
        parameters_digest: Stands for them.
        reason: The leader's.
        requested_by: Who sent the leader.
        state: How far it is.
        sentence: Why, in one sentence.
        rules: Every rule's answer.
        decided: When the verdict was last given.
        run_id: The run's id at the target, once it was approved.
        answered: When the target, or the dead-letter queue, took it.
    """

    id: str
    pipeline: str
    parameters: Mapping[str, Any]
    parameters_digest: str
    reason: str
    requested_by: str
    state: State
    sentence: str
    rules: tuple[Mapping[str, Any], ...]
    decided: datetime
    run_id: str | None = None
    answered: datetime | None = None

    def to_row(self) -> dict[str, Any]:
        """The decision as a row of the ledger."""
        changed = {"state": str(self.state), "rules": [dict(rule) for rule in self.rules]}
        return {**vars(self), "parameters": dict(self.parameters), **changed}

    @classmethod
    def from_row(cls, row: Any) -> Decision:
        """Read a row of the ledger."""
        values = {name: row._mapping[name] for name in cls.__dataclass_fields__}
        values.update(
            state=State(values["state"]),
            rules=tuple(values["rules"]),
            decided=aware(values["decided"]),
            answered=aware(values["answered"]),
        )
        return cls(**values)


@dataclass(frozen=True)
class Message:
    """A message that came.

    Args:
        id: Its id; made from its content where it has none that can be trusted.
        decision: The decision that it ended in; None for poison.
        pipeline: What it asks for; None for poison, as all that follows.
        reason: Why.
        requested_by: Who asks.
        requested_at: When it was asked.
        received: When it first came.
        evidence: What it rests on.
        override: Why a person wants the run whatever the policy says.
        fault: Why it is poison.
    """

    id: str
    decision: Decision | None
    pipeline: str | None
    reason: str | None
    requested_by: str | None
    requested_at: datetime | None
    received: datetime
    evidence: Mapping[str, Any] | None
    override: str | None
    fault: str | None

    @property
    def outcome(self) -> Outcome:
        """What became of it."""
        if self.fault is not None or self.decision is None:
            return Outcome.dead_lettered
        if self.decision.state is State.started:
            return Outcome.caused if self.decision.id == self.id else Outcome.coalesced
        settled = {
            State.refused: Outcome.refused,
            State.dead_lettered: Outcome.dead_lettered,
        }
        return settled.get(self.decision.state, Outcome.open)

    @property
    def why(self) -> str:
        """Why that became of it, in one sentence."""
        return self.decision.sentence if self.decision is not None else self.fault or ""

    def to_request(self) -> RetrainRequest:
        """The request that the message was."""
        assert self.decision is not None
        return RetrainRequest(
            message_id=self.id,
            pipeline=self.decision.pipeline,
            reason=self.reason or "",
            requested_by=self.requested_by or "",
            requested_at=self.requested_at or self.received,
            parameters=self.decision.parameters,
            evidence=self.evidence or {},
            override=self.override or "",
        )


def message_row(request: RetrainRequest, decision: str, received: datetime) -> dict[str, Any]:
    """A message as a row of the ledger.

    Args:
        request: What it says.
        decision: The decision that it belongs to.
        received: When it came.
    """
    return {
        "id": request.message_id,
        "decision_id": decision,
        "pipeline": request.pipeline,
        "reason": request.reason,
        "requested_by": request.requested_by,
        "requested_at": request.requested_at,
        "received": received,
        "evidence": dict(request.evidence),
        "override": request.override or None,
        "fault": None,
    }


def aware(moment: Any) -> Any:
    """SQLite gives times back without their zone; all were written in UTC."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
