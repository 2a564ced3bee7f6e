"""People who were erased, known again by keyed pseudonyms, so that no reading brings them back.

Who is on the list is an entry of the ledger's journal, which every machine shares and nobody
changes. The platform may keep a person, and a source be read again: their rows are left out
wherever rows come in. Each distinct identifier is looked at once, and where nobody was erased
nothing is looked at.
"""

from __future__ import annotations

import uuid

from feature_store.people import IDENTIFIER, ListedPeople, listed_people
from feature_store.pseudonyms import Keyring
from learnloop.ledger import Ledger, open_ledger
from learnloop.ledger.journal import JournalEntry, append_to_journal, read_journal
from learnloop.settings import Settings

ERASED = "erased"
"""The journal's kind of an entry that puts a person on the list; the subject is the pseudonym."""

LEARNER_COLUMNS = ("id_student", "learner")
"""The columns that name a learner in the layouts there are; ``learner_columns`` adds others."""

_NAMESPACE = uuid.UUID("4f0c3c51-6b0e-4f3e-9a57-0f6f7c1d2b9e")


def learner_columns(settings: Settings) -> frozenset[str]:
    """Name the columns of tables that hold a learner's identifier.

    Args:
        settings: May name further ones.
    """
    return frozenset((*LEARNER_COLUMNS, *settings.learner_columns))


def load_erased(settings: Settings) -> ListedPeople | None:
    """Read the list.

    Args:
        settings: Names the ledger and the learners' columns.

    Returns:
        None where nobody was erased.

    Raises:
        UsageError: A key is missing without which somebody on the list cannot be known again.
    """
    if not settings.has_ledger:
        return None
    entries = read_journal(open_ledger(settings.ledger_url), ERASED)
    if not entries:
        return None
    return listed_people({entry.subject for entry in entries}, learner_columns(settings))


def erased_state(settings: Settings) -> dict[str, str]:
    """Tell who is on the list, for the key of a step that leaves them out.

    Args:
        settings: As :func:`load_erased` takes them.

    Returns:
        The list's digest; nothing where nobody was erased.
    """
    erased = load_erased(settings)
    return {"erased": erased.digest} if erased else {}


def list_as_erased(ledger: Ledger, keyring: Keyring, learner: str, actor: str) -> JournalEntry:
    """Put a person on the list; one who is on it stays on it.

    Args:
        ledger: The ledger.
        keyring: The keys, the one in use first.
        learner: The person's identifier.
        actor: Who erases them.

    Returns:
        The entry, which stands for the erasure however often it is begun.
    """
    pseudonym = keyring.pseudonym(IDENTIFIER, learner)
    entry = JournalEntry(ERASED, pseudonym, actor, {}, id=str(uuid.uuid5(_NAMESPACE, pseudonym)))
    append_to_journal(ledger, entry)
    return next(one for one in read_journal(ledger, ERASED, pseudonym) if one.id == entry.id)
