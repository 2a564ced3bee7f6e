"""The key of a row: a pseudonym of sixteen bytes for each join key, one after the other.

No store ever holds an identifier. As the parts have one length, and are made from the join key's
name and value, all rows of a learner can be found by that part, in whatever view and wherever in
the key it stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from feature_store.fields import FeatureType, Field
from feature_store.online.packing import RowSchema, pack_rows
from feature_store.pseudonyms import Keyring
from learnloop.errors import UsageError

PART_BYTES = 16

Pseudonym = Callable[[bytes], bytes]
"""Gives the pseudonym, of :data:`PART_BYTES`, of a value's text."""


def digests(name: str) -> Pseudonym:
    """The pseudonyms where no key is configured: digests, which hide nothing from a guess.

    Args:
        name: The join key.
    """
    begun = hashlib.blake2b(
        digest_size=PART_BYTES, person=name.encode()[: hashlib.blake2b.PERSON_SIZE]
    )

    def digest(value: bytes) -> bytes:
        hashed = begun.copy()
        hashed.update(value)
        return hashed.digest()

    return digest


@dataclass(frozen=True)
class Pseudonyms:
    """How the values of join keys are hidden.

    Args:
        name: A name of the key, which changes with it; empty where there is none.
        of: Makes what gives the pseudonyms of a join key's values, from the join key's name.
    """

    name: str = ""
    of: Callable[[str], Pseudonym] = digests


NO_KEY = Pseudonyms()


def pseudonyms_of(keyring: Keyring | None) -> tuple[Pseudonyms, ...]:
    """Hide values by the keys of a ring; rows from before there was a key are known by digests.

    Args:
        keyring: The keys; None where none is configured.

    Returns:
        The pseudonyms under each key, the one in use first, and the plain digests last.
    """
    keys = keyring.keys if keyring else ()
    return (*(Pseudonyms(key.name, partial(partial, key.digest)) for key in keys), NO_KEY)


class EntityKeys:
    """Makes the keys of a view's rows.

    Args:
        join_keys: The view's join keys, in order.
        pseudonyms: How values are hidden.

    Example:
        >>> keys = EntityKeys((Field("learner", FeatureType.INT64),))
        >>> len(keys.one({"learner": 7}))
        16
    """

    def __init__(self, join_keys: Sequence[Field], pseudonyms: Pseudonyms = NO_KEY) -> None:
        self.join_keys = tuple(join_keys)
        self._parts = [
            (key.name, key.dtype is FeatureType.STRING, pseudonyms.of(key.name))
            for key in join_keys
        ]

    def one(self, values: Mapping[str, Any]) -> bytes | None:
        """Make the key of one row.

        Args:
            values: The join keys' values by name; others are left alone.

        Returns:
            The key; None if a value is null, for which there is never a row.

        Raises:
            UsageError: A value is missing or not of its type.
        """
        parts = []
        for name, is_text, pseudonym in self._parts:
            value = values.get(name, _MISSING)
            if value is None:
                return None
            if is_text and type(value) is str:
                parts.append(pseudonym(value.encode()))
            elif not is_text and (type(value) is int or isinstance(value, np.integer)):
                parts.append(pseudonym(b"%d" % value))
            else:
                raise UsageError(
                    f"The join key '{name}' has no value."
                    if value is _MISSING
                    else f"A value of the join key '{name}' is not of its type.",
                    where="entity rows",
                    expected="str" if is_text else "int",
                    received="nothing" if value is _MISSING else type(value).__name__,
                )
        return b"".join(parts)

    def many(self, columns: Mapping[str, pa.Array]) -> list[bytes | None]:
        """Make the keys of many rows.

        Args:
            columns: The join keys' columns by name, of the Arrow types of their fields.

        Returns:
            The keys, in order; None where a value is null.
        """
        parts: list[list[bytes | None]] = []
        for name, is_text, pseudonym in self._parts:
            column = columns[name]
            if is_text or column.null_count:
                texts = column.cast(pa.string()).cast(pa.binary()).to_pylist()
                parts.append([None if text is None else pseudonym(text) for text in texts])
            else:
                parts.append([pseudonym(b"%d" % number) for number in column.to_numpy().tolist()])
        if len(parts) == 1:
            return parts[0]
        return [None if None in row else b"".join(row) for row in zip(*parts, strict=True)]


def has_part(key: bytes, parts: Collection[bytes]) -> bool:
    """Whether a key has one of some parts.

    Args:
        key: A key.
        parts: Pseudonyms of a person.
    """
    return any(key[at : at + PART_BYTES] in parts for at in range(0, len(key), PART_BYTES))


def keyed_rows(
    keys: EntityKeys,
    schema: RowSchema,
    columns: Mapping[str, pa.Array],
    happened: pa.Array,
    created: pa.Array,
) -> list[tuple[bytes, bytes]]:
    """Pack a batch of rows and make their keys.

    Args:
        keys: Makes the keys.
        schema: The schema to pack with.
        columns: Join keys and features by name.
        happened: When the values came to hold: int64, microseconds since 1970.
        created: When they were recorded, likewise.

    Returns:
        Key and row of each, but of those that have a null in their key.
    """
    rows = pack_rows(schema, columns, happened.to_numpy(), created.to_numpy())
    return [
        (key, row) for key, row in zip(keys.many(columns), rows, strict=True) if key is not None
    ]


_MISSING = object()
