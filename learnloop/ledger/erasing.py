"""What a person's rows went into, and that they are gone.

That a run happened stays on record. An execution whose files were removed has no location any more,
so no key finds it; every artifact that was made of the person's rows, near or far, has an entry in
the journal with the erasure and its day.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from learnloop.artifacts import (
    Blessing,
    Evaluation,
    Model,
    MonitoringReport,
    PublishedModel,
    RegisteredModel,
    ValidationReport,
)
from learnloop.ledger.connecting import chunks
from learnloop.ledger.journal import JournalEntry, read_journal
from learnloop.ledger.ledger import Ledger
from learnloop.ledger.records import ArtifactRecord
from learnloop.ledger.rows import aware, insert_missing, read_artifact
from learnloop.ledger.tables import artifacts, executions, journal, runs, uses

MADE_WITH_ERASED = "made_with_erased"
"""The journal's kind of an artifact that was made of rows of a person who was erased since."""

_MODEL = Model.reference()
_VERDICTS = frozenset(
    kind.reference()
    for kind in (
        Blessing, Evaluation, MonitoringReport, PublishedModel, RegisteredModel, ValidationReport
    )
)  # fmt: skip
"""What is read to decide, and not to learn from."""

_MADE = (
    sa.select(artifacts, executions.c.run_id, executions.c.location)
    .join(executions, executions.c.id == artifacts.c.execution_id)
    .order_by(executions.c.started, artifacts.c.id)
)


@dataclass(frozen=True)
class Made:
    """An artifact, and what made it.

    Args:
        artifact: The artifact.
        execution_id: The execution that made it.
        run_id: That execution's run.
        location: Where the execution's files are in the store; None where they are no longer.
    """

    artifact: ArtifactRecord
    execution_id: str
    run_id: str
    location: str | None


def published_artifacts(ledger: Ledger) -> list[Made]:
    """List every artifact whose files are in the store, the oldest first.

    Args:
        ledger: The ledger.
    """
    with ledger.reading() as connection:
        rows = connection.execute(_MADE.where(executions.c.location.is_not(None)))
        return [_read(row) for row in rows]


def trace_downstream(ledger: Ledger, beginning: Iterable[str]) -> set[str]:
    """Find all artifacts that were made of some, in any number of steps.

    A model that is equal to one of them counts too: it was fetched as the model in service, say,
    and not handed from step to step. Verdicts and figures count, and are not followed further: a
    model that is registered because it is better than another has not learned from that.

    Args:
        ledger: The ledger.
        beginning: Ids of artifacts.

    Returns:
        Their ids, those given among them.
    """
    read, made = uses.alias(), uses.alias()
    steps = (
        sa.select(read.c.artifact_id, made.c.artifact_id)
        .join(made, made.c.execution_id == read.c.execution_id)
        .where(read.c.direction == "in", made.c.direction == "out")
        .distinct()
    )
    kinds = sa.select(artifacts.c.id, artifacts.c.type, artifacts.c.content_digest)
    following: dict[str, set[str]] = {}
    equal: dict[str, set[str]] = {}
    digests: dict[str, str] = {}
    verdicts: set[str] = set()
    with ledger.reading() as connection:
        for source, result in connection.execute(steps):
            following.setdefault(source, set()).add(result)
        for artifact, kind, digest in connection.execute(kinds):
            if kind == _MODEL:
                equal.setdefault(digest, set()).add(artifact)
                digests[artifact] = digest
            elif kind in _VERDICTS:
                verdicts.add(artifact)
    found: set[str] = set()
    waiting = list(beginning)
    while waiting:
        artifact = waiting.pop()
        if artifact not in found:
            found.add(artifact)
            if artifact not in verdicts:
                waiting.extend(following.get(artifact, ()))
            waiting.extend(equal.get(digests.get(artifact, ""), ()))
    return found


def mark_erased(
    ledger: Ledger, erasure: JournalEntry, artifact_ids: Iterable[str], removed: Collection[str]
) -> None:
    """Write down, in one transaction, what was made of a person's rows and what of it goes.

    Args:
        ledger: The ledger.
        erasure: The entry that began the erasure.
        artifact_ids: What was made of the person's rows.
        removed: Ids of the executions whose files go; from now on no step reuses them.
    """
    entries = [
        {
            "id": str(uuid.uuid5(uuid.UUID(erasure.id), artifact)),
            "at": erasure.at,
            "kind": MADE_WITH_ERASED,
            "subject": artifact,
            "actor": erasure.actor,
            "document": {"erasure": erasure.id},
        }
        for artifact in sorted(artifact_ids)
    ]
    with ledger.transaction() as connection:
        if entries:
            connection.execute(insert_missing(connection, journal), entries)
        for some in chunks(sorted(removed)):
            chosen = sa.update(executions).where(executions.c.id.in_(some))
            connection.execute(chosen.values(location=None, manifest_digest=None))


def marked_by(ledger: Ledger, erasure: JournalEntry) -> list[Made]:
    """List what an erasure marked, the oldest first.

    Args:
        ledger: The ledger.
        erasure: The entry that began it.
    """
    marked = {
        entry.subject
        for entry in read_journal(ledger, MADE_WITH_ERASED)
        if entry.document["erasure"] == erasure.id
    }
    with ledger.reading() as connection:
        return [_read(row) for row in connection.execute(_MADE) if row.id in marked]


def erased_since(ledger: Ledger, artifact_ids: Sequence[str]) -> dict[str, tuple[datetime, bool]]:
    """Tell which artifacts were made of rows of somebody who was erased since.

    Args:
        ledger: The ledger.
        artifact_ids: The artifacts asked about.

    Returns:
        By artifact, when somebody was erased last, and whether its files were removed.
    """
    query = (
        sa.select(journal.c.subject, sa.func.max(journal.c.at), executions.c.location)
        .join(artifacts, artifacts.c.id == journal.c.subject)
        .join(executions, executions.c.id == artifacts.c.execution_id)
        .where(journal.c.kind == MADE_WITH_ERASED)
        .group_by(journal.c.subject, executions.c.location)
    )
    found = {}
    with ledger.reading() as connection:
        for some in chunks(artifact_ids):
            for name, at, location in connection.execute(query.where(journal.c.subject.in_(some))):
                moment = aware(at)
                assert moment is not None, "every entry has its moment"
                found[name] = (moment, location is None)
    return found


def tell_erased(at: datetime, is_removed: bool) -> str:
    """Say what became of an artifact when somebody was erased.

    Args:
        at: When.
        is_removed: Whether its files were removed.

    Example:
        >>> from datetime import UTC
        >>> tell_erased(datetime(2026, 3, 2, tzinfo=UTC), is_removed=False)
        'made with a person who was erased on 2026-03-02'
    """
    return f"{'erased' if is_removed else 'made with a person who was erased'} on {at:%Y-%m-%d}"


def executing(ledger: Ledger) -> dict[str, str]:
    """List the steps that are being executed, of runs that go on.

    Args:
        ledger: The ledger.

    Returns:
        Run and step, as a person reads it, by execution.
    """
    query = (
        sa.select(executions.c.id, executions.c.run_id, executions.c.step)
        .join(runs, runs.c.id == executions.c.run_id)
        .where(executions.c.status == "running", runs.c.status == "running")
    )
    with ledger.reading() as connection:
        return {row.id: f"{row.run_id} {row.step}" for row in connection.execute(query)}


def unpublished(ledger: Ledger) -> set[str]:
    """List executions that have ended and whose files nobody may use, if there are any.

    Args:
        ledger: The ledger.

    Returns:
        Ids: files were removed by an erasure, or published by a step that was killed before it
        could say so.
    """
    query = sa.select(executions.c.id).where(
        executions.c.location.is_(None), executions.c.status.not_in(("running", "pending"))
    )
    with ledger.reading() as connection:
        return set(connection.execute(query).scalars())


def _read(row: Any) -> Made:
    return Made(read_artifact(row), row.execution_id, row.run_id, row.location)
