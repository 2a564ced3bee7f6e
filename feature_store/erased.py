"""People who were erased, known again by keyed pseudonyms, so that no reading brings them back.

Who is on the list is an entry of the ledger's journal, which every machine shares and nobody
changes. The platform may keep a person, and a source be read again: their rows are left out
wherever rows come in. Each distinct identifier is looked at once, and where nobody was erased
nothing is looked at.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from feature_store.pseudonyms import KEYS_VARIABLE, Keyring, PseudonymKey, load_keyring
from learnloop.errors import UsageError
from learnloop.ledger import Ledger, open_ledger
from learnloop.ledger.journal import JournalEntry, append_to_journal, read_journal
from learnloop.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

ERASED = "erased"
"""The journal's kind of an entry that puts a person on the list; the subject is the pseudonym."""

IDENTIFIER = "learner"
"""What the pseudonyms identify, here as in the prediction log."""

LEARNER_COLUMNS = ("id_student", "learner")
"""The columns that name a learner in the layouts there are; ``learner_columns`` adds others."""

_NAMESPACE = uuid.UUID("4f0c3c51-6b0e-4f3e-9a57-0f6f7c1d2b9e")
_WORD = re.compile(r"[^\s,;|\"'{}\[\]()]+")


def learner_columns(settings: Settings) -> frozenset[str]:
    """Name the columns of tables that hold a learner's identifier.

    Args:
        settings: May name further ones.
    """
    return frozenset((*LEARNER_COLUMNS, *settings.learner_columns))


class ErasedPeople:
    """The people on the list.

    Args:
        keys: Every key that one of the pseudonyms is under.
        pseudonyms: At least one.
        columns: The columns that hold a learner's identifier.

    Example:
        >>> key = PseudonymKey("2026", b"k" * 32)
        >>> erased = ErasedPeople([key], [key.pseudonym("learner", 7)], ["learner"])
        >>> erased.has("7"), erased.has("8")
        (True, False)
    """

    def __init__(
        self,
        keys: Sequence[PseudonymKey],
        pseudonyms: Collection[str],
        columns: Collection[str],
    ) -> None:
        self._keys = tuple(keys)
        self._pseudonyms = frozenset(pseudonyms)
        self._columns = frozenset(columns)
        self._known: dict[str, bool] = {}

    @property
    def digest(self) -> str:
        """Stands for who is on the list and where they are looked for; a SHA-256."""
        text = "\n".join([*sorted(self._columns), "", *sorted(self._pseudonyms)])
        return hashlib.sha256(text.encode()).hexdigest()

    def has(self, learner: str) -> bool:
        """Tell whether somebody is on the list.

        Args:
            learner: Their identifier, as text.
        """
        known = self._known.get(learner)
        if known is None:
            known = self._known[learner] = any(
                key.pseudonym(IDENTIFIER, learner) in self._pseudonyms for key in self._keys
            )
        return known

    def are_named_in(self, text: str) -> bool:
        """Tell whether a text has the identifier of somebody on the list as one of its words.

        Args:
            text: A row of a file, for example.
        """
        return any(self.has(word) for word in _WORD.findall(text))

    def without(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Leave out the rows of people on the list.

        Args:
            batch: Rows; one without a learner's column is given back as it is.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        for name in batch.schema.names:
            if name not in self._columns:
                continue
            coded = batch.column(name)
            if not pa.types.is_dictionary(coded.type):
                coded = coded.dictionary_encode()
            is_erased = [self.has(one) for one in _texts(coded.dictionary)]
            if any(is_erased):
                is_theirs = pa.array(is_erased, pa.bool_()).take(coded.indices)
                batch = batch.filter(pc.invert(pc.fill_null(is_theirs, False)))
        return batch


def _texts(values: pa.Array) -> list[str]:
    """Identifiers as people write them: 7 where a column of decimals has 7.0."""
    import pyarrow as pa

    return [text or "" for text in values.cast(pa.string()).to_pylist()]


def load_erased(settings: Settings) -> ErasedPeople | None:
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
    pseudonyms = {entry.subject for entry in entries}
    keys = {key.name: key for key in load_keyring().keys}
    names = {pseudonym.partition(".")[0] for pseudonym in pseudonyms}
    missing = sorted(names - keys.keys())
    if missing:
        raise UsageError(
            "People who were erased can no longer be known again, and would come back.",
            where=f"the environment variable {KEYS_VARIABLE}",
            expected="the keys " + ", ".join(sorted(names)),
            received="no key " + ", ".join(missing),
            next="put the key back behind the one in use",
        )
    return ErasedPeople(
        [keys[name] for name in sorted(names)], pseudonyms, learner_columns(settings)
    )


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
