"""Finding each key's code: which of the keys asked about a row of the source belongs to.

Keys are compared as they are, never by a hash alone. Integers are found through a table, or by
multiplicative hashing where they are far apart; strings through a dictionary; a composite key as
the pair of what its columns gave so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Codes: TypeAlias = NDArray[np.int64]
ABSENT = -1
DENSE_FACTOR = 8
"""A table may have so many places for each key before hashing is used."""
SPREAD = np.uint64(0x9E3779B97F4A7C15)


class KeyIndex:
    """The distinct keys among entity rows, numbered from 0.

    Args:
        columns: The join keys of the entity rows, in order: int32, int64 or string.

    Attributes:
        codes: The number of each entity row's key; -1 where a key is null.
        count: How many keys there are.
    """

    def __init__(self, columns: Sequence[pa.Array]) -> None:
        self._columns: list[_Integers | _Strings] = []
        self._pairs: list[tuple[int, _Integers]] = []
        codes = self._add(columns[0])
        for column in columns[1:]:
            further = self._add(column)
            width = self._columns[-1].count
            paired = _pair(codes, further, width)
            pairs = _Integers(np.unique(paired[paired >= 0]))
            self._pairs.append((width, pairs))
            codes = pairs.find(paired)
        self.codes = codes
        self.count = (self._pairs[-1][1] if self._pairs else self._columns[0]).count

    def find(self, columns: Sequence[pa.Array]) -> Codes:
        """Number the keys of other rows.

        Args:
            columns: The join keys of the rows, in the order and of the types of the entity rows'.

        Returns:
            The number of each row's key; -1 where no entity row has it or a key is null.
        """
        codes = self._columns[0].find_column(columns[0])
        rest = zip(self._columns[1:], self._pairs, columns[1:], strict=True)
        for index, (width, pairs), column in rest:
            codes = pairs.find(_pair(codes, index.find_column(column), width))
        return codes

    def _add(self, column: pa.Array) -> Codes:
        index = _Strings(column) if pa.types.is_string(column.type) else _Integers.of(column)
        self._columns.append(index)
        return index.find_column(column)


class _Integers:
    """Distinct integers, numbered in ascending order."""

    def __init__(self, values: Codes) -> None:
        self.count = len(values)
        self._values = values
        self._low = int(values[0]) if self.count else 0
        span = int(values[-1]) - self._low + 1 if self.count else 0
        self._is_dense = span <= DENSE_FACTOR * self.count
        if self._is_dense:
            self._places = np.full(span + 1, ABSENT, np.int64)
            self._places[values - self._low] = np.arange(self.count)
        else:
            self._hash()

    @classmethod
    def of(cls, column: pa.Array) -> _Integers:
        return cls(np.unique(_numbers(column.drop_null())))

    def find_column(self, column: pa.Array) -> Codes:
        codes = self.find(_numbers(column))
        if column.null_count:
            codes[column.is_null().to_numpy(zero_copy_only=False)] = ABSENT
        return codes

    def find(self, values: Codes) -> Codes:
        if self._is_dense:
            # What lies outside reaches the table's last place, which is empty.
            places = values - self._low
            outside = (values < self._low) | (values > self._low + len(self._places) - 2)
            places[outside] = len(self._places) - 1
            return self._places.take(places)
        bucket = self._bucket(values)
        place, end = self._first.take(bucket), self._first.take(bucket + 1)
        found = np.full(len(values), ABSENT, np.int64)
        rows = np.flatnonzero(place < end)
        place = place[rows]
        while len(rows):
            is_it = self._bucketed.take(place) == values.take(rows)
            found[rows[is_it]] = self._order.take(place[is_it])
            place = place + 1
            left = ~is_it & (place < end.take(rows))
            rows, place = rows[left], place[left]
        return found

    def _hash(self) -> None:
        bits = max(self.count * 4, 2).bit_length()
        self._shift = np.uint64(64 - bits)
        buckets = self._bucket(self._values)
        self._order = np.argsort(buckets, kind="stable")
        self._bucketed = self._values[self._order]
        counts = np.bincount(buckets, minlength=1 << bits)
        self._first = np.concatenate([[0], np.cumsum(counts)])

    def _bucket(self, values: Codes) -> Codes:
        return ((values.view(np.uint64) * SPREAD) >> self._shift).view(np.int64)


class _Strings:
    """Distinct strings, numbered as they come."""

    def __init__(self, column: pa.Array) -> None:
        self._values = column.drop_null().unique()
        self.count = len(self._values)

    def find_column(self, column: pa.Array) -> Codes:
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        found = pc.index_in(encoded.dictionary, value_set=self._values)
        by_place = np.append(_numbers(found.fill_null(ABSENT)), ABSENT)
        places = encoded.indices.cast(pa.int64()).fill_null(len(encoded.dictionary))
        return by_place.take(_numbers(places))


def _pair(first: Codes, second: Codes, width: int) -> Codes:
    return np.where((first < 0) | (second < 0), ABSENT, first * width + second)


def _numbers(column: pa.Array) -> Any:
    """The values as int64; what stands where a value is null does not matter."""
    filled = column.fill_null(0) if column.null_count else column
    return filled.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
