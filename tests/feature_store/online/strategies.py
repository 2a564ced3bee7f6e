"""Made-up schemas and values: every type, with nulls, infinities, and NaNs of any bits."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from feature_store.fields import FeatureType
from feature_store.online.packing import RowSchema

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
TIMES = st.integers(-(10**16), 10**16)
TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
BITS32 = st.integers(0, 2**32 - 1) | st.sampled_from([0x7F800001, 0xFFC12345, 0x80000000])
BITS64 = st.integers(0, 2**64 - 1) | st.sampled_from([0x7FF0000000000001, 1 << 63])

# Floats are drawn by their bits: a comparison of values would let a NaN's payload be lost.
ELEMENTS: dict[FeatureType, st.SearchStrategy[Any]] = {
    FeatureType.BOOL: st.booleans(),
    FeatureType.INT32: INT32,
    FeatureType.INT64: INT64,
    FeatureType.FLOAT32: BITS32,
    FeatureType.FLOAT64: BITS64,
    FeatureType.STRING: TEXT,
    FeatureType.BYTES: st.binary(max_size=12),
    FeatureType.TIMESTAMP: INT64,
    FeatureType.INT64_LIST: st.lists(st.none() | INT64, max_size=4),
    FeatureType.FLOAT32_LIST: st.lists(st.none() | BITS32, max_size=4),
    FeatureType.STRING_LIST: st.lists(st.none() | TEXT, max_size=4),
}


def column(dtype: FeatureType, values: Sequence[Any]) -> pa.Array:
    """An Arrow column of drawn values, floats given by their bits."""
    if dtype is FeatureType.FLOAT32:
        return _floats(values, np.uint32)
    if dtype is FeatureType.FLOAT64:
        return _floats(values, np.uint64)
    if dtype is FeatureType.FLOAT32_LIST:
        flat = [element for value in values if value is not None for element in value]
        lengths = [len(value or ()) for value in values]
        offsets = np.cumsum([0, *lengths]).astype(np.int32)
        mask = np.array([*(value is None for value in values), False])
        return pa.ListArray.from_arrays(pa.array(offsets, mask=mask), _floats(flat, np.uint32))
    return pa.array(values, dtype.arrow)


def drawn(array: pa.Array) -> list[Any]:
    """The values of a column as they are drawn: floats by their bits, times by their number."""
    if pa.types.is_list(array.type) and pa.types.is_floating(array.type.value_type):
        is_null = array.is_null().to_pylist()
        bits = drawn(array.values)
        offsets = array.offsets.to_pylist()
        return [
            None if null else bits[begin:end]
            for null, begin, end in zip(is_null, offsets, offsets[1:], strict=False)
        ]
    if pa.types.is_floating(array.type):
        bits_of = {32: (pa.uint32(), "<u4"), 64: (pa.uint64(), "<u8")}[array.type.bit_width][0]
        return array.view(bits_of).to_pylist()
    if pa.types.is_timestamp(array.type):
        return array.view(pa.int64()).to_pylist()
    return array.to_pylist()


def python_float(bits: int, dtype: FeatureType) -> float:
    """The float of some bits."""
    if dtype is FeatureType.FLOAT32:
        return struct.unpack("<f", struct.pack("<I", bits))[0]
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


@st.composite
def schemas(draw: st.DrawFn) -> RowSchema:
    """A schema of up to twelve fields."""
    types = draw(st.lists(st.sampled_from(list(FeatureType)), min_size=1, max_size=12))
    return RowSchema(tuple((f"feature{at}", dtype) for at, dtype in enumerate(types)))


@st.composite
def rows(draw: st.DrawFn, schema: RowSchema, most: int = 6) -> dict[str, list[Any]]:
    """Values for some rows of a schema, by field."""
    count = draw(st.integers(1, most))
    return {
        name: draw(st.lists(st.none() | ELEMENTS[dtype], min_size=count, max_size=count))
        for name, dtype in schema.fields
    }


def _floats(values: Sequence[Any], bits: Any) -> pa.Array:
    array = np.array([value or 0 for value in values], bits)
    mask = np.array([value is None for value in values], bool)
    return pa.array(array, mask=mask).view(pa.float32() if bits is np.uint32 else pa.float64())
