"""Runs, executions, artifacts and lineage."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "runs",
        sa.Column("id", sa.String(250), nullable=False),
        sa.Column("pipeline", sa.String(250), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("edges", sa.JSON(), nullable=False),
        sa.Column("runner", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("git_commit", sa.String(64), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_started", "runs", ["started"])
    op.create_table(
        "executions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("run_id", sa.String(250), nullable=False),
        sa.Column("step", sa.String(250), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("component", sa.String(500), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("parts", sa.JSON()),
        sa.Column("reused", sa.String(36)),
        sa.Column("started", sa.DateTime(timezone=True)),
        sa.Column("ended", sa.DateTime(timezone=True)),
        sa.Column("host", sa.String(255)),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("override", sa.JSON()),
        sa.Column("location", sa.String(1000)),
        sa.Column("manifest_digest", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_executions"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_executions_run_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_executions_key_status", "executions", ["key", "status"])
    op.create_index(
        "ix_executions_run_id_step_attempt",
        "executions",
        ["run_id", "step", "attempt"],
        unique=True,
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("execution_id", sa.String(36), nullable=False),
        sa.Column("output", sa.String(250), nullable=False),
        sa.Column("type", sa.String(500), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.String(64), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name="fk_artifacts_execution_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_artifacts_execution_id", "artifacts", ["execution_id"])
    op.create_table(
        "uses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("execution_id", sa.String(36), nullable=False),
        sa.Column("direction", sa.String(6), nullable=False),
        sa.Column("name", sa.String(250), nullable=False),
        sa.Column("artifact_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uses"),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["executions.id"], name="fk_uses_execution_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifacts.id"], name="fk_uses_artifact_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_uses_execution_id", "uses", ["execution_id"])
    op.create_index("ix_uses_artifact_id", "uses", ["artifact_id"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("uses", "artifacts", "executions", "runs"):
        op.drop_table(table)
