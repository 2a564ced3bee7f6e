"""Forgetting runs: which ones no kept run draws on, and what their removal leaves needed."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from learnloop.ledger.connecting import chunks
from learnloop.ledger.records import RunRecord
from learnloop.ledger.rows import read_run
from learnloop.ledger.tables import artifacts, executions, runs, uses


def forget(
    connection: sa.Connection, keep: Callable[[RunRecord], bool], *, dry_run: bool
) -> tuple[list[str], set[str]]:
    """Drop ended runs; see :meth:`learnloop.ledger.Ledger.forget`.

    Args:
        connection: In a transaction that nobody else writes beside.
        keep: Judges a run.
        dry_run: Whether to change nothing.

    Returns:
        The runs dropped, and the ids of the executions whose files are needed.
    """
    producer = executions.alias("producer")
    reads = (
        sa.select(executions.c.run_id, producer.c.run_id.label("source"))
        .join(uses, uses.c.execution_id == executions.c.id)
        .join(artifacts, artifacts.c.id == uses.c.artifact_id)
        .join(producer, producer.c.id == artifacts.c.execution_id)
        .distinct()
    )
    if connection.dialect.name == "postgresql":
        # Nobody may begin to draw on an artifact between this look and the deletion.
        connection.execute(sa.text("LOCK TABLE uses IN SHARE ROW EXCLUSIVE MODE"))
    rows = [read_run(row) for row in connection.execute(sa.select(runs))]
    sources: dict[str, set[str]] = {}
    for run_id, source in connection.execute(reads):
        sources.setdefault(run_id, set()).add(source)
    kept: set[str] = set()
    waiting = [row.id for row in rows if row.status == "running" or keep(row)]
    while waiting:
        run_id = waiting.pop()
        if run_id not in kept:
            kept.add(run_id)
            waiting.extend(sources.get(run_id, ()))
    holding = sa.select(executions.c.id, executions.c.run_id).where(
        executions.c.location.is_not(None) | (executions.c.status == "running")
    )
    needed = {one for one, run_id in connection.execute(holding) if run_id in kept}
    dropped = [row.id for row in rows if row.id not in kept]
    if not dry_run:
        for some in chunks(dropped):
            connection.execute(sa.delete(runs).where(runs.c.id.in_(some)))
    return dropped, needed
