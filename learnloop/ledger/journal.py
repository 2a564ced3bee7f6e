"""The journal: who moved what, when and why, in rows that nobody changes or removes.

A package that moves something people must be able to account for (the version that callers get, the
registry's ``champion``) appends one row for each move and reads them back. What a row's document
holds is the appending package's business; the database itself refuses to change a row.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from learnloop.ledger.ledger import Ledger
from learnloop.ledger.rows import aware, insert_missing, now
from learnloop.ledger.tables import journal


@dataclass(frozen=True)
class JournalEntry:
    """A move on record.

    Args:
        kind: What sort of thing was moved, for example ``serving`` or ``champion``.
        subject: Which one, for example the model's name.
        actor: Who moved it.
        document: From, to, why: whatever the kind calls for, as JSON. No learner's data.
        id: Makes appending the same entry again do nothing.
        at: When it was moved, in UTC.
    """

    kind: str
    subject: str
    actor: str
    document: Mapping[str, Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: datetime = field(default_factory=now)


def append_to_journal(ledger: Ledger, *entries: JournalEntry) -> None:
    """Append entries, all or none; one that is on record already is left as it is.

    Args:
        ledger: The ledger.
        entries: What happened, the oldest first.

    Raises:
        LearnLoopError: The ledger's database did not take them.
    """
    rows = [{**vars(entry), "document": dict(entry.document)} for entry in entries]
    with ledger.transaction() as connection:
        if rows:
            connection.execute(insert_missing(connection, journal), rows)


def read_journal(ledger: Ledger, kind: str, subject: str = "") -> list[JournalEntry]:
    """Read entries in the order in which they were appended.

    Args:
        ledger: The ledger.
        kind: Only entries of this kind.
        subject: Only entries about this one; "" for all.
    """
    query = sa.select(journal).where(journal.c.kind == kind).order_by(journal.c.position)
    if subject:
        query = query.where(journal.c.subject == subject)
    with ledger.reading() as connection:
        return [_read(row) for row in connection.execute(query)]


def _read(row: Any) -> JournalEntry:
    values = {name: value for name, value in row._mapping.items() if name != "position"}
    return JournalEntry(**{**values, "at": aware(row.at)})
