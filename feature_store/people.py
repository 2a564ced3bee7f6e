"""People on a list, who are known again by keyed pseudonyms alone.

Each distinct identifier is looked at once, columns at a time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

from feature_store.pseudonyms import KEYS_VARIABLE, PseudonymKey, load_keyring
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

IDENTIFIER = "learner"
"""What the pseudonyms identify, here as in the prediction log."""

_WORD = re.compile(r"[^\s,;|\"'{}\[\]()]+")

Rows = TypeVar("Rows", "pa.RecordBatch", "pa.Table")


class ListedPeople:
    """The people on a list.

    Args:
        keys: Every key that one of the pseudonyms is under.
        pseudonyms: At least one.
        columns: The columns that hold a learner's identifier.

    Example:
        >>> key = PseudonymKey("2026", b"k" * 32)
        >>> listed = ListedPeople([key], [key.pseudonym("learner", 7)], ["learner"])
        >>> listed.has("7"), listed.has("8")
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
        return any(map(self.has, words_of(text)))

    def without(self, batch: Rows) -> Rows:
        """Leave out the rows of people on the list.

        Args:
            batch: A record batch or a table; one without a learner's column is given back as it is.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        for name in batch.schema.names:
            if name not in self._columns:
                continue
            coded = _whole(batch.column(name))
            if not pa.types.is_dictionary(coded.type):
                coded = coded.dictionary_encode()
            is_listed = [self.has(one) for one in _texts(coded.dictionary)]
            if any(is_listed):
                is_theirs = pa.array(is_listed, pa.bool_()).take(coded.indices)
                batch = batch.filter(pc.invert(pc.fill_null(is_theirs, False)))
        return batch


def words_of(text: str) -> list[str]:
    """Part a text where identifiers in rows of files are parted.

    Args:
        text: For example a line of a CSV file, or JSON.

    Example:
        >>> words_of('7, "ada" {"learner": 8}')
        ['7', 'ada', 'learner', ':', '8']
    """
    return _WORD.findall(text)


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    if not isinstance(column, pa.ChunkedArray):
        return column
    chunks = column.unify_dictionaries().chunks
    return pa.concat_arrays(chunks) if chunks else pa.array([], column.type)


def _texts(values: pa.Array) -> list[str]:
    """Identifiers as people write them: 7 where a column of decimals has 7.0."""
    import pyarrow as pa

    return [text or "" for text in values.cast(pa.string()).to_pylist()]


def listed_people(pseudonyms: Collection[str], columns: Collection[str]) -> ListedPeople:
    """Take the keys for a list from the environment.

    Args:
        pseudonyms: At least one.
        columns: The columns that hold a learner's identifier.

    Returns:
        The people.

    Raises:
        UsageError: A key is missing without which somebody cannot be known again.
    """
    keys = {key.name: key for key in load_keyring().keys}
    names = {pseudonym.partition(".")[0] for pseudonym in pseudonyms}
    missing = sorted(names - keys.keys())
    if missing:
        raise UsageError(
            "People who were erased or are held can no longer be known again.",
            where=f"the environment variable {KEYS_VARIABLE}",
            expected="the keys " + ", ".join(sorted(names)),
            received="no key " + ", ".join(missing),
            next="put the key back behind the one in use",
        )
    return ListedPeople([keys[name] for name in sorted(names)], pseudonyms, columns)
