"""Reading packed rows as what a view wants today, whichever schema they were packed with.

A row packed before a feature was added has null for it; one packed before a feature was renamed has
it under a name in the field's ``formerly``; one packed before a type was widened is widened here;
what was removed since is passed over. Nothing is rewritten when a view changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from feature_store.fields import FeatureType, Field
from feature_store.online.packing import CODES, ELEMENTS, WITH_NULLS, RowSchema
from learnloop.errors import LearnLoopError

HEADER_VALUES = 4
"""Event time, created, fingerprint and nulls come before the values."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RowReader:
    """Reads rows of one stored schema as fields of a view.

    Args:
        stored: The schema that the rows were packed with.
        schema: All fields of the view as it is now.
        names: The features wanted, in order.
        view: The view's name, for messages.

    Raises:
        LearnLoopError: A stored type does not widen to the type that the view has now.
    """

    def __init__(
        self, stored: RowSchema, schema: Sequence[Field], names: Sequence[str], view: str
    ) -> None:
        self._stored = stored
        self._unpack = stored.layout.unpack_from
        self._size = stored.layout.size
        self._no_nulls = bytes(stored.null_bytes)
        self._wanted = [field for name in names for field in schema if field.name == name]
        places = stored_places(stored, schema)
        self._places = [places.get(field.name) for field in self._wanted]
        self._check_types(view)
        # A feature that the row does not have is read from behind the last value, which is null.
        last = HEADER_VALUES + len(stored.fields)
        picked = [last if at is None else HEADER_VALUES + at for at in self._places]
        self._pick: Callable[[Any], tuple[Any, ...]] = (
            itemgetter(*picked) if len(picked) > 1 else lambda values: (values[picked[0]],)
        )
        self._conversions = self._find_conversions()
        self._is_plain = not self._conversions and None not in self._places and not stored.varying

    def one(self, row: bytes) -> tuple[Any, ...]:
        """Read a row.

        Args:
            row: A packed row of the stored schema.

        Returns:
            The wanted features, in order, as Python values.
        """
        values = self._unpack(row)
        if self._is_plain and values[3] == self._no_nulls:
            return self._pick(values)
        return self._pick(self._whole(row, list(values)))

    def columns(self, rows: Sequence[bytes]) -> list[pa.Array]:
        """Read many rows by column.

        Args:
            rows: Packed rows of the stored schema.

        Returns:
            The wanted features, in order, of the Arrow types of their fields.
        """
        size = self._size
        fixed = b"".join([row[:size] for row in rows] if self._stored.varying else rows)
        table = np.frombuffer(fixed, self._stored.numpy_layout)
        nulls = None
        if table["nulls"].any():
            bits = np.unpackbits(table["nulls"], axis=1, bitorder="little")
            nulls = bits[:, : len(self._stored.fields)].astype(bool)
        ends = self._tail_ends(table) if self._stored.varying else {}
        columns = []
        for at, field in zip(self._places, self._wanted, strict=True):
            if at is None:
                columns.append(pa.nulls(len(rows), field.dtype.arrow))
                continue
            mask = None if nulls is None else nulls[:, at]
            dtype = self._stored.fields[at][1]
            if dtype in CODES:
                column = _fixed_column(table[f"f{at}"], dtype, mask)
            else:
                tails = [row[begin:end] for row, begin, end in zip(rows, *ends[at], strict=True)]
                column = _varying_column(tails, dtype, mask)
            columns.append(column if dtype is field.dtype else column.cast(field.dtype.arrow))
        return columns

    def _check_types(self, view: str) -> None:
        for at, field in zip(self._places, self._wanted, strict=True):
            if at is not None and not self._stored.fields[at][1].widens_to(field.dtype):
                name, dtype = self._stored.fields[at]
                raise LearnLoopError(
                    f"Stored values of '{name}' do not fit the type of '{field.name}'.",
                    where=f"feature view '{view}'",
                    expected=f"{field.dtype}, or a type that widens to it",
                    received=dtype,
                    next=f"learnloop features materialize --view {view}",
                )

    def _find_conversions(self) -> list[tuple[int, Callable[[Any], Any]]]:
        """Find the values that are not yet what they should be once they are unpacked."""
        found: list[tuple[int, Callable[[Any], Any]]] = []
        for at, field in zip(self._places, self._wanted, strict=True):
            if at is None:
                continue
            dtype = self._stored.fields[at][1]
            if dtype is FeatureType.INT32 and field.dtype is FeatureType.FLOAT64:
                found.append((at, float))
            elif dtype is FeatureType.BOOL and field.dtype is not FeatureType.BOOL:
                found.append((at, int))
            elif dtype in _FROM_STORED:
                found.append((at, _FROM_STORED[dtype]))
        return found

    def _whole(self, row: bytes, values: list[Any]) -> list[Any]:
        """Complete the unpacked values: nulls, what varies in length, types."""
        begin = self._size
        for at in self._stored.varying:
            end = begin + values[HEADER_VALUES + at]
            values[HEADER_VALUES + at] = row[begin:end]
            begin = end
        bits = int.from_bytes(values[3], "little")
        for at in range(len(self._stored.fields)):
            if bits >> at & 1:
                values[HEADER_VALUES + at] = None
        for at, convert in self._conversions:
            if values[HEADER_VALUES + at] is not None:
                values[HEADER_VALUES + at] = convert(values[HEADER_VALUES + at])
        values.append(None)
        return values

    def _tail_ends(self, table: np.ndarray[Any, Any]) -> dict[int, tuple[list[int], list[int]]]:
        """Find where the value of each field that varies in length begins and ends in each row."""
        lengths = [table[f"f{at}"].astype(np.int64) for at in self._stored.varying]
        bounds = list(accumulate(lengths, initial=np.full(len(table), self._size)))
        return {
            at: (bounds[place].tolist(), bounds[place + 1].tolist())
            for place, at in enumerate(self._stored.varying)
        }


def stored_places(stored: RowSchema, schema: Sequence[Field]) -> Mapping[str, int]:
    """Find the place in a stored row of each feature of today's view.

    A stored name that a feature had formerly is that feature's, even where another feature has
    taken the name since.

    Args:
        stored: The schema that rows were packed with.
        schema: All fields of the view as it is now.

    Returns:
        The places by feature; features that the rows do not have are left out.
    """
    places = {name: at for at, name in enumerate(stored.names)}
    found: dict[str, int] = {}
    for field in schema:
        former = next((name for name in field.formerly if name in places), None)
        if field.name not in places and former is not None:
            found[field.name] = places[former]
    taken = set(found.values())
    for field in schema:
        at = places.get(field.name)
        if at is not None and at not in taken:
            found[field.name] = at
    return found


def _read_numbers(dtype: FeatureType) -> Callable[[bytes], list[Any]]:
    element = np.dtype(ELEMENTS[dtype])

    def read(tail: bytes) -> list[Any]:
        values, there = _elements(tail, element)
        read: list[Any] = values.tolist()
        if there is None:
            return read
        return [value if is_there else None for value, is_there in zip(read, there, strict=True)]

    return read


def _elements(
    tail: bytes, element: np.dtype[Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """The elements of a list of numbers, and which of them are there if not all are."""
    if tail[:1] != WITH_NULLS:
        return np.frombuffer(tail, element, offset=1), None
    count = (len(tail) - 1) // (element.itemsize + 1)
    there = np.frombuffer(tail, bool, count, offset=1)
    return np.frombuffer(tail, element, count, offset=1 + count), there


def _timestamp(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


_FROM_STORED: Mapping[FeatureType, Callable[[Any], Any]] = {
    FeatureType.TIMESTAMP: _timestamp,
    FeatureType.STRING: bytes.decode,
    FeatureType.STRING_LIST: json.loads,
    FeatureType.INT64_LIST: _read_numbers(FeatureType.INT64_LIST),
    FeatureType.FLOAT32_LIST: _read_numbers(FeatureType.FLOAT32_LIST),
}


def _fixed_column(
    values: np.ndarray[Any, Any], dtype: FeatureType, mask: np.ndarray[Any, Any] | None
) -> pa.Array:
    native = values.astype(values.dtype.newbyteorder("="))
    if mask is None and dtype is not FeatureType.BOOL:
        # A third of the time that pa.array takes.
        return pa.Array.from_buffers(dtype.arrow, len(native), [None, pa.py_buffer(native)])
    column = pa.array(native, mask=mask)
    return column.view(dtype.arrow) if dtype is FeatureType.TIMESTAMP else column


def _varying_column(
    tails: Sequence[bytes], dtype: FeatureType, mask: np.ndarray[Any, Any] | None
) -> pa.Array:
    if dtype in ELEMENTS:
        return _number_list_column(tails, dtype, mask)
    is_null = [False] * len(tails) if mask is None else mask.tolist()
    values: list[Any] = [None if null else tail for tail, null in zip(tails, is_null, strict=True)]
    if dtype is FeatureType.STRING_LIST:
        values = [value if value is None else json.loads(value) for value in values]
    return pa.array(values, dtype.arrow)


def _number_list_column(
    tails: Sequence[bytes], dtype: FeatureType, mask: np.ndarray[Any, Any] | None
) -> pa.Array:
    element = np.dtype(ELEMENTS[dtype])
    values, missing, lengths = [], [], []
    for at, tail in enumerate(tails):
        if mask is not None and mask[at]:
            lengths.append(0)
            continue
        numbers, there = _elements(tail, element)
        values.append(numbers)
        missing.append(np.zeros(len(numbers), bool) if there is None else ~there)
        lengths.append(len(numbers))
    flat = pa.array(
        np.concatenate(values) if values else np.empty(0, element),
        mask=np.concatenate(missing) if missing else None,
    )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    # A null list is told by a null offset.
    is_null = None if mask is None else np.append(mask, False)
    return pa.ListArray.from_arrays(pa.array(offsets, mask=is_null), flat)
