"""What the ledger gives back: frozen rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

RUN_STATUSES = ("running", "done", "refused", "failed", "cancelled")
STEP_STATUSES = (
    "pending",
    "running",
    "done",
    "cached",
    "refused",
    "failed",
    "skipped",
    "cancelled",
)


@dataclass(frozen=True)
class ArtifactRecord:
    """A published artifact.

    Args:
        id: Its id in the ledger.
        output: The output it was written as.
        type: ``module:Class``.
        uri: Where it lives.
        content_digest: Canonical for its type.
        metadata: Small facts.
    """

    id: str
    output: str
    type: str
    uri: str
    content_digest: str
    metadata: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The record as JSON holds it: what crosses from step to step."""
        return {**vars(self), "metadata": dict(self.metadata)}


@dataclass(frozen=True)
class ExecutionRecord:
    """A step of a run.

    Args:
        id: The execution's id.
        run_id: Its run.
        step: The node's name.
        position: Its place in the graph's order.
        component: ``module:function``.
        attempt: Which attempt it is, from 1.
        status: One of :data:`STEP_STATUSES`.
        key: The cache key; None until it was computed.
        parts: What the key was made of.
        reused: The execution whose outputs were reused.
        started: When it began.
        ended: When it ended.
        host: Where it ran.
        reasons: Why it was refused or failed.
        override: Who let a refused gate pass, and why.
        location: ``pipeline/step/execution_id`` in the store, once published.
        manifest_digest: Stands for the published bytes.
    """

    id: str
    run_id: str
    step: str
    position: int
    component: str
    attempt: int
    status: str
    key: str | None
    parts: Mapping[str, str] | None
    reused: str | None
    started: datetime | None
    ended: datetime | None
    host: str | None
    reasons: tuple[str, ...]
    override: Mapping[str, str] | None
    location: str | None
    manifest_digest: str | None

    @property
    def seconds(self) -> float:
        """How long it took; 0 until it has ended."""
        if self.started is None or self.ended is None:
            return 0.0
        return (self.ended - self.started).total_seconds()


@dataclass(frozen=True)
class RunRecord:
    """A run of a pipeline.

    Args:
        id: The run's id.
        pipeline: The pipeline's name.
        parameters: The pipeline's parameters.
        edges: Pairs of step names: from, to.
        runner: ``local`` or ``airflow``.
        status: One of :data:`RUN_STATUSES`.
        started: When it began.
        ended: When it ended.
        host: Where it was started.
        user: Who started it.
        git_commit: The project's commit, with ``+`` behind it if files had changed.
        cause: Why it exists: a person, a schedule, a message.
        cancel_requested: Whether a person asked for it to stop.
    """

    id: str
    pipeline: str
    parameters: Mapping[str, Any]
    edges: tuple[tuple[str, str], ...]
    runner: str
    status: str
    started: datetime
    ended: datetime | None
    host: str
    user: str
    git_commit: str
    cause: str
    cancel_requested: bool

    @property
    def seconds(self) -> float:
        """How long it took; 0 until it has ended."""
        return (self.ended - self.started).total_seconds() if self.ended else 0.0
