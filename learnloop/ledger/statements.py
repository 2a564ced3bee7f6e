"""The statements that every step executes, built once: building costs more than executing.

What is rarely asked is built where it is asked, in :mod:`learnloop.ledger`.
"""

from __future__ import annotations

import sqlalchemy as sa

from learnloop.ledger.tables import artifacts, executions, runs, uses

_of_step = (
    executions.c.run_id == sa.bindparam("chosen_run"),
    executions.c.step == sa.bindparam("chosen_step"),
)

BEGIN_PENDING = (
    sa.update(executions).where(*_of_step, executions.c.status == "pending")
).returning(executions.c.id)

NEWEST_ATTEMPT = (
    sa.select(executions).where(*_of_step).order_by(executions.c.attempt.desc()).limit(1)
)

CHANGE_EXECUTION = sa.update(executions).where(executions.c.id == sa.bindparam("chosen"))

ADD_ARTIFACTS = sa.insert(artifacts)

ADD_USES = sa.insert(uses)

REUSABLE = (
    sa.select(executions)
    .where(executions.c.key == sa.bindparam("key"), executions.c.status == "done")
    .where(executions.c.reused.is_(None), executions.c.location.is_not(None))
    .order_by(executions.c.ended.desc())
)

USED = (
    sa.select(uses.c.name, artifacts)
    .join(artifacts, artifacts.c.id == uses.c.artifact_id)
    .where(uses.c.execution_id == sa.bindparam("execution_id"))
    .where(uses.c.direction == sa.bindparam("direction"))
    .order_by(uses.c.id)
)

IS_CANCEL_REQUESTED = sa.select(runs.c.cancel_requested).where(runs.c.id == sa.bindparam("run_id"))
