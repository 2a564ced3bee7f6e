"""The ledger's tables. Change one here and add a migration; a test holds the two together."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(250), primary_key=True),
    Column("pipeline", String(250), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("edges", JSON, nullable=False),
    Column("runner", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("started", DateTime(timezone=True), nullable=False),
    Column("ended", DateTime(timezone=True)),
    Column("host", String(255), nullable=False),
    Column("user", String(255), nullable=False),
    Column("git_commit", String(64), nullable=False),
    Column("cause", Text, nullable=False),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Index("ix_runs_started", "started"),
)

executions = Table(
    "executions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("step", String(250), nullable=False),
    Column("position", Integer, nullable=False),
    Column("component", String(500), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("key", String(64)),
    Column("parts", JSON),
    Column("reused", String(36)),
    Column("started", DateTime(timezone=True)),
    Column("ended", DateTime(timezone=True)),
    Column("host", String(255)),
    Column("reasons", JSON, nullable=False),
    Column("override", JSON),
    Column("location", String(1000)),
    Column("manifest_digest", String(64)),
    Index("ix_executions_key_status", "key", "status"),
    Index("ix_executions_run_id_step_attempt", "run_id", "step", "attempt", unique=True),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("execution_id", ForeignKey("executions.id", ondelete="CASCADE"), nullable=False),
    Column("output", String(250), nullable=False),
    Column("type", String(500), nullable=False),
    Column("uri", Text, nullable=False),
    Column("content_digest", String(64), nullable=False),
    Column("metadata", JSON, nullable=False),
    Index("ix_artifacts_execution_id", "execution_id"),
)

uses = Table(
    "uses",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("execution_id", ForeignKey("executions.id", ondelete="CASCADE"), nullable=False),
    Column("direction", String(6), nullable=False),
    Column("name", String(250), nullable=False),
    Column("artifact_id", ForeignKey("artifacts.id", ondelete="CASCADE"), nullable=False),
    Index("ix_uses_execution_id", "execution_id"),
    Index("ix_uses_artifact_id", "artifact_id"),
)

retrain_decisions = Table(
    "retrain_decisions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("pipeline", String(250), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("parameters_digest", String(64), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("requested_by", String(250), nullable=False),
    Column("state", String(16), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("rules", JSON, nullable=False),
    Column("decided", DateTime(timezone=True), nullable=False),
    Column("run_id", String(250)),
    Column("answered", DateTime(timezone=True)),
    Index("ix_retrain_decisions_pipeline_decided", "pipeline", "decided"),
    Index("ix_retrain_decisions_state", "state"),
)

retrain_messages = Table(
    "retrain_messages",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("decision_id", ForeignKey("retrain_decisions.id", ondelete="CASCADE")),
    Column("pipeline", String(250)),
    Column("reason", String(32)),
    Column("requested_by", String(250)),
    Column("requested_at", DateTime(timezone=True)),
    Column("received", DateTime(timezone=True), nullable=False),
    Column("evidence", JSON),
    Column("override", Text),
    Column("fault", Text),
    Index("ix_retrain_messages_decision_id", "decision_id"),
    Index("ix_retrain_messages_received", "received"),
)

journal = Table(
    "journal",
    metadata,
    Column("position", Integer, primary_key=True),
    Column("id", String(36), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("subject", String(250), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("document", JSON, nullable=False),
    Index("ix_journal_id", "id", unique=True),
    Index("ix_journal_kind_subject", "kind", "subject"),
)
"""Rows are only ever added: triggers of the migration refuse to change or remove one."""
