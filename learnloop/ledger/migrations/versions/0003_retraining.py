"""Requests to retrain: every message, and the decision that it ended in."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "retrain_decisions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("pipeline", sa.String(250), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("parameters_digest", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("requested_by", sa.String(250), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("decided", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.String(250)),
        sa.Column("answered", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_retrain_decisions"),
    )
    op.create_index(
        "ix_retrain_decisions_pipeline_decided", "retrain_decisions", ["pipeline", "decided"]
    )
    op.create_index("ix_retrain_decisions_state", "retrain_decisions", ["state"])
    op.create_table(
        "retrain_messages",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("decision_id", sa.String(64)),
        sa.Column("pipeline", sa.String(250)),
        sa.Column("reason", sa.String(32)),
        sa.Column("requested_by", sa.String(250)),
        sa.Column("requested_at", sa.DateTime(timezone=True)),
        sa.Column("received", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evidence", sa.JSON()),
        sa.Column("override", sa.Text()),
        sa.Column("fault", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_retrain_messages"),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["retrain_decisions.id"],
            name="fk_retrain_messages_decision_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_retrain_messages_decision_id", "retrain_messages", ["decision_id"])
    op.create_index("ix_retrain_messages_received", "retrain_messages", ["received"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("retrain_messages", "retrain_decisions"):
        op.drop_table(table)
