"""Legal hold: people whose data must stay for the time being, known by pseudonyms alone.

A hold and its release are entries of the ledger's journal, so that it stays on record who held
whom, when and why. Of a person's entries the last one counts.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from feature_store.erased import learner_columns
from feature_store.people import ListedPeople, listed_people
from learnloop.errors import UsageError
from learnloop.ledger import Ledger, open_ledger
from learnloop.ledger.journal import JournalEntry, append_to_journal, read_journal
from learnloop.settings import Settings
from privacy.person import Person

HOLD = "hold"
"""The journal's kind; the subject is a pseudonym."""


@dataclass(frozen=True)
class Hold:
    """A hold in force.

    Args:
        pseudonym: Who is held.
        reason: The case, for example.
        actor: Who asked for it.
        since: From when on.
    """

    pseudonym: str
    reason: str
    actor: str
    since: datetime


def holds(ledger: Ledger) -> list[Hold]:
    """List the holds in force, the oldest first.

    Args:
        ledger: The ledger.
    """
    newest: dict[str, JournalEntry] = {}
    for entry in read_journal(ledger, HOLD):
        newest.pop(entry.subject, None)
        newest[entry.subject] = entry
    return [
        Hold(entry.subject, entry.document["reason"], entry.actor, entry.at)
        for entry in newest.values()
        if entry.document["is_held"]
    ]


def hold_person(ledger: Ledger, person: Person, reason: str) -> None:
    """Hold a person: no erasure and no retention takes their data until the hold is released.

    Args:
        ledger: The ledger.
        person: Whom.
        reason: Why; kept, so it must not name the person.
    """
    _append(ledger, person.pseudonyms[:1], reason, is_held=True)


def release_person(ledger: Ledger, person: Person, reason: str) -> None:
    """Release a person who is held.

    Args:
        ledger: The ledger.
        person: Whom.
        reason: Why.

    Raises:
        UsageError: They are not held.
    """
    found = _of(ledger, person)
    if not found:
        raise UsageError(
            "This learner is not held.", where="LEARNER", next="learnloop hold lists the holds"
        )
    _append(ledger, [one.pseudonym for one in found], reason, is_held=False)


def refuse_if_held(ledger: Ledger, person: Person) -> None:
    """Refuse to erase a person who is held.

    Args:
        ledger: The ledger.
        person: Whom.

    Raises:
        UsageError: They are held; it says why.
    """
    for one in _of(ledger, person):
        raise UsageError(
            "This learner is under legal hold, and nothing was erased.",
            where=f"the hold of {one.since:%Y-%m-%d} by {one.actor}",
            expected="nobody who is held",
            received=one.reason,
            next="learnloop hold LEARNER --release --reason …, once the hold has ended",
        )


def held_people(settings: Settings) -> ListedPeople | None:
    """Read who is held, to tell their rows from those of others.

    Args:
        settings: Names the ledger and the learners' columns.

    Returns:
        None where nobody is.

    Raises:
        UsageError: A key is missing without which somebody who is held cannot be known again.
    """
    held = [one.pseudonym for one in holds(open_ledger(settings.ledger_url))]
    return listed_people(held, learner_columns(settings)) if held else None


def _of(ledger: Ledger, person: Person) -> list[Hold]:
    return [one for one in holds(ledger) if one.pseudonym in person.pseudonyms]


def _append(ledger: Ledger, pseudonyms: Iterable[str], reason: str, *, is_held: bool) -> None:
    document = {"is_held": is_held, "reason": reason}
    actor = getpass.getuser()
    append_to_journal(
        ledger, *(JournalEntry(HOLD, pseudonym, actor, document) for pseudonym in pseudonyms)
    )
