"""Rows of the ledger's tables: read into frozen records, and written where several methods do."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from learnloop.errors import CorruptArtifact
from learnloop.ledger.records import ArtifactRecord, ExecutionRecord, RunRecord
from learnloop.ledger.statements import (
    ADD_USES,
    BEGIN_PENDING,
    CHANGE_EXECUTION,
    NEWEST_ATTEMPT,
)
from learnloop.ledger.tables import artifacts, executions


def insert_missing(connection: sa.Connection, table: sa.Table) -> Any:
    """An insertion that does nothing where the key is there already."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table).on_conflict_do_nothing()


def now() -> datetime:
    """This moment, in UTC as all times of the ledger are."""
    return datetime.now(UTC)


def add_attempt(
    connection: sa.Connection, run_id: str, step: str, values: Mapping[str, Any]
) -> str:
    """Turn the step's pending row into an attempt, or add one after the last."""
    values = {**values, "host": socket.gethostname()}
    chosen = {"chosen_run": run_id, "chosen_step": step}
    begun = connection.execute(BEGIN_PENDING, {**chosen, **values}).scalar()
    if begun is not None:
        return str(begun)
    newest = connection.execute(NEWEST_ATTEMPT, chosen).one()
    if newest.status == "running":
        connection.execute(CHANGE_EXECUTION, {"chosen": newest.id, **died()})
    added = {
        "id": str(uuid.uuid4()),
        "run_id": run_id,
        "step": step,
        "position": newest.position,
        "component": newest.component,
        "attempt": newest.attempt + 1,
        "reasons": [],
    }
    connection.execute(sa.insert(executions), {**added, **values})
    return str(added["id"])


def add_links(
    connection: sa.Connection,
    execution_id: str,
    inputs: Mapping[str, Sequence[str]],
    outputs: Sequence[ArtifactRecord],
) -> None:
    """Record what an execution read and what it gave.

    Args:
        connection: In a transaction.
        execution_id: The execution.
        inputs: Artifact ids by input name.
        outputs: The artifacts, which are on record.

    Raises:
        CorruptArtifact: One of them is no longer on record.
    """
    links = [("in", name, one) for name, ids in inputs.items() for one in ids]
    links += [("out", record.output, record.id) for record in outputs]
    rows = [
        {"execution_id": execution_id, "direction": direction, "name": name, "artifact_id": one}
        for direction, name, one in links
    ]
    try:
        if rows:
            connection.execute(ADD_USES, rows)
    except IntegrityError as fault:
        raise CorruptArtifact(
            "An artifact was collected as garbage meanwhile.", where=execution_id
        ) from fault


def died() -> dict[str, Any]:
    """The values of an attempt whose process ended without a word."""
    reason = "The process that ran this attempt ended without a word."
    return {"status": "failed", "ended": now(), "reasons": [reason]}


def aware(moment: datetime | None) -> datetime | None:
    """SQLite gives times back without their zone; all were written in UTC."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def read_run(row: Any) -> RunRecord:
    """Read a row of ``runs``."""
    values = dict(row._mapping)
    values["edges"] = tuple((one, other) for one, other in values["edges"])
    return RunRecord(**{**values, "started": aware(row.started), "ended": aware(row.ended)})


def read_execution(row: Any) -> ExecutionRecord:
    """Read a row of ``executions``."""
    values = {column.name: row._mapping[column] for column in executions.columns}
    values.update(
        reasons=tuple(values["reasons"] or ()),
        started=aware(values["started"]),
        ended=aware(values["ended"]),
    )
    return ExecutionRecord(**values)


def read_artifact(row: Any) -> ArtifactRecord:
    """Read a row of ``artifacts``."""
    values = {c.name: row._mapping[c] for c in artifacts.columns if c.name != "execution_id"}
    return ArtifactRecord(**values)
