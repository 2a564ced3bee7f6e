"""What a run read, and what the runs before it did that came to something."""

from __future__ import annotations

import sqlalchemy as sa

from learnloop.ledger.ledger import Ledger
from learnloop.ledger.records import ArtifactRecord
from learnloop.ledger.rows import read_artifact
from learnloop.ledger.tables import artifacts, executions, runs, uses


def input_of_run(ledger: Ledger, run_id: str, name: str, kind: str) -> ArtifactRecord | None:
    """Find what the steps of a run read under a name.

    Args:
        ledger: The ledger.
        run_id: The run's whole id.
        name: The input's name.
        kind: The artifact's type, as ``module:Class``.

    Returns:
        The artifact, the last step's where several read one; None where none did.
    """
    return _first(ledger, _inputs(name, kind).where(runs.c.id == run_id))


def input_of_last_run(
    ledger: Ledger, pipeline: str, name: str, kind: str, *, that_made: str, other_than: str
) -> ArtifactRecord | None:
    """Find what the last run of a pipeline read under a name, among the runs that made something.

    Args:
        ledger: The ledger.
        pipeline: The pipeline's name.
        name: The input's name.
        kind: The artifact's type, as ``module:Class``.
        that_made: The type of artifact without which a run does not count.
        other_than: The content digest that is not looked for.

    Returns:
        The artifact; None where no such run read another.
    """
    made, output, result = executions.alias(), uses.alias(), artifacts.alias()
    has_made = (
        sa.select(made.c.id)
        .join(output, output.c.execution_id == made.c.id)
        .join(result, result.c.id == output.c.artifact_id)
        .where(made.c.run_id == runs.c.id, made.c.status.in_(("done", "cached")))
        .where(output.c.direction == "out", result.c.type == that_made)
        .exists()
    )
    query = _inputs(name, kind).where(runs.c.pipeline == pipeline, has_made)
    return _first(ledger, query.where(artifacts.c.content_digest != other_than))


def _inputs(name: str, kind: str) -> sa.Select[tuple[object, ...]]:
    producer = executions.alias("producer")
    return (
        sa.select(artifacts)
        .join(producer, producer.c.id == artifacts.c.execution_id)
        .where(producer.c.location.is_not(None))  # a person was erased, and files with them
        .join(uses, uses.c.artifact_id == artifacts.c.id)
        .join(executions, executions.c.id == uses.c.execution_id)
        .join(runs, runs.c.id == executions.c.run_id)
        .where(uses.c.direction == "in", uses.c.name == name, artifacts.c.type == kind)
        .order_by(runs.c.started.desc(), executions.c.position.desc())
        .limit(1)
    )


def _first(ledger: Ledger, query: sa.Select[tuple[object, ...]]) -> ArtifactRecord | None:
    with ledger.reading() as connection:
        row = connection.execute(query).first()
    return read_artifact(row) if row else None
