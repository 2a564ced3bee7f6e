"""The layout of a packed row: times, schema, nulls, values; packed by column, many rows at once.

::

    event time | created | schema | nulls | a value or a length per field | what varies in length
       8 bytes   8 bytes   8 bytes  1 bit a field

Both times are microseconds since 1970, shifted so that the bytes of two rows compare as their
``(event time, created)`` do: a store decides which row is newer without knowing any schema. The
schema is a fingerprint of names and types, under which the store keeps them, so that rows written
years ago can be read. Numbers are big-endian; a float keeps every bit, also of a NaN. How rows are
read is in ``rows.py``.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.fields import FeatureType, Field

STAMP_BYTES = 16
"""The length of both times together, which begin every row."""

FINGERPRINT_BYTES = 8
HEADER_BYTES = STAMP_BYTES + FINGERPRINT_BYTES
TIME_SHIFT = 1 << 63

CODES = {
    FeatureType.BOOL: "?",
    FeatureType.INT32: "i",
    FeatureType.INT64: "q",
    FeatureType.FLOAT32: "f",
    FeatureType.FLOAT64: "d",
    FeatureType.TIMESTAMP: "q",
}
"""The codes of ``struct`` for types of one length; the others store their length in bytes."""

LENGTH_CODE = "I"
NUMPY_CODES = {"?": "?", "i": ">i4", "q": ">i8", "f": ">f4", "d": ">f8", "I": ">u4"}
ELEMENTS = {FeatureType.INT64_LIST: "<i8", FeatureType.FLOAT32_LIST: "<f4"}
"""The elements of lists of numbers, which are kept as they are in memory."""

WITHOUT_NULLS, WITH_NULLS = b"\0", b"\1"
"""The first byte of a list of numbers; with nulls, a byte for each element says if it is there."""


@dataclass(frozen=True)
class RowSchema:
    """The names and types of the values in a packed row.

    Args:
        fields: Name and type, in the order in which they are packed.

    Example:
        >>> schema = RowSchema((("clicks", FeatureType.INT64),))
        >>> schema == RowSchema.from_json(schema.to_json())
        True
    """

    fields: tuple[tuple[str, FeatureType], ...]

    @classmethod
    def of(cls, fields: Sequence[Field]) -> RowSchema:
        """Take the schema of a feature view."""
        return cls(tuple((field.name, field.dtype) for field in fields))

    @classmethod
    def from_json(cls, text: str | bytes) -> RowSchema:
        """Read what :meth:`to_json` wrote."""
        return cls(tuple((name, FeatureType(dtype)) for name, dtype in json.loads(text)))

    def to_json(self) -> str:
        """Write the schema as text, always the same for equal schemas."""
        return json.dumps([[name, dtype.value] for name, dtype in self.fields])

    @cached_property
    def fingerprint(self) -> bytes:
        """Eight bytes that tell this schema from any other."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=FINGERPRINT_BYTES).digest()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(name for name, _ in self.fields)

    @cached_property
    def null_bytes(self) -> int:
        """The length of the null bitmap."""
        return (len(self.fields) + 7) // 8

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """The code of ``struct`` of every field."""
        return tuple(CODES.get(dtype, LENGTH_CODE) for _, dtype in self.fields)

    @cached_property
    def varying(self) -> tuple[int, ...]:
        """The places of the fields that vary in length."""
        return tuple(at for at, (_, dtype) in enumerate(self.fields) if dtype not in CODES)

    @cached_property
    def layout(self) -> struct.Struct:
        """The part of one length: event time, created, fingerprint, nulls, values."""
        return struct.Struct(
            f">QQ{FINGERPRINT_BYTES}s{self.null_bytes}s" + "".join(self.codes),
        )

    @cached_property
    def numpy_layout(self) -> np.dtype[Any]:
        """The same part as a structured type, whose values are ``f0``, ``f1`` and so on."""
        columns: list[Any] = [
            ("event_time", ">u8"),
            ("created", ">u8"),
            ("fingerprint", f"V{FINGERPRINT_BYTES}"),
            ("nulls", "u1", (self.null_bytes,)),
        ]
        columns += [(f"f{at}", NUMPY_CODES[code]) for at, code in enumerate(self.codes)]
        return np.dtype(columns)


def pack_rows(
    schema: RowSchema,
    columns: Mapping[str, pa.Array],
    happened: np.ndarray[Any, Any],
    created: np.ndarray[Any, Any],
) -> list[bytes]:
    """Pack rows, column by column.

    Args:
        schema: The names and types of the values.
        columns: The values, by name, of the Arrow type that belongs to the field's type.
        happened: When the values came to hold: int64, microseconds since 1970.
        created: When they were recorded, likewise.

    Returns:
        The rows, in order.
    """
    rows = np.zeros(len(happened), schema.numpy_layout)
    rows["event_time"] = _shifted(happened)
    rows["created"] = _shifted(created)
    rows["fingerprint"] = np.void(schema.fingerprint)
    nulls = np.zeros((len(rows), len(schema.fields)), bool)
    tails: list[list[bytes]] = []
    for at, (name, dtype) in enumerate(schema.fields):
        column = columns[name]
        if column.null_count:
            nulls[:, at] = column.is_null().to_numpy(zero_copy_only=False)
        if dtype in CODES:
            rows[f"f{at}"] = _values(column, dtype)
        else:
            tail = _tails(column, dtype)
            tails.append(tail)
            rows[f"f{at}"] = np.fromiter(map(len, tail), np.uint32, len(tail))
    rows["nulls"] = np.packbits(nulls, axis=1, bitorder="little")
    packed: list[bytes] = rows.view(f"V{schema.numpy_layout.itemsize}").tolist()
    if tails:
        return [b"".join(parts) for parts in zip(packed, *tails, strict=True)]
    return packed


def event_time(row: bytes) -> int:
    """When the values of a packed row came to hold, in microseconds since 1970."""
    return int.from_bytes(row[:8], "big") - TIME_SHIFT


def fingerprint(row: bytes) -> bytes:
    """The fingerprint of the schema that a row was packed with."""
    return row[STAMP_BYTES:HEADER_BYTES]


def _shifted(times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shifted: np.ndarray[Any, Any] = times.astype(np.int64).view(np.uint64) ^ np.uint64(TIME_SHIFT)
    return shifted


def _values(column: pa.Array, dtype: FeatureType) -> np.ndarray[Any, Any]:
    """The values of a column whose type has one length; what is null is nought."""
    if dtype is FeatureType.TIMESTAMP:
        column = column.view(pa.int64())
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(0, pa.int64()).cast(column.type))
    values: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return values


def _tails(column: pa.Array, dtype: FeatureType) -> list[bytes]:
    """The bytes of every value of a column whose type varies in length; null has none."""
    if dtype in ELEMENTS:
        return _number_lists(column, ELEMENTS[dtype])
    if dtype is FeatureType.STRING_LIST:
        return [
            b"" if value is None else json.dumps(value, ensure_ascii=False).encode()
            for value in column.to_pylist()
        ]
    return [value or b"" for value in column.cast(pa.binary()).to_pylist()]


def _number_lists(column: pa.Array, element: str) -> list[bytes]:
    """Lists of numbers as they are in memory, behind a byte that says whether some are null."""
    offsets = column.offsets.to_numpy()
    values = column.values
    width = np.dtype(element).itemsize
    data = np.frombuffer(values.buffers()[1] or b"", element)
    raw = data[values.offset : values.offset + len(values)].tobytes()
    there = values.is_valid().to_numpy(zero_copy_only=False).astype("u1").tobytes()
    null = column.is_null().to_numpy(zero_copy_only=False)
    tails = []
    for at, (begin, end) in enumerate(
        zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ):
        if null[at]:
            tails.append(b"")
        elif values.null_count and 0 in there[begin:end]:
            tails.append(WITH_NULLS + there[begin:end] + raw[begin * width : end * width])
        else:
            tails.append(WITHOUT_NULLS + raw[begin * width : end * width])
    return tails
