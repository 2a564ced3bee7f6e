"""Rows as TensorFlow Data Validation wants them: every column a list of values per row.

A scalar column becomes a list column over the same buffers; nothing is copied unless there are
nulls to leave out. A null value is a missing list; an item that is null inside a list is left out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from learnloop.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


def as_features(batch: pa.RecordBatch, leave_out: Collection[str] = ()) -> pa.RecordBatch:
    """Turn a batch of plain columns into TFDV's features.

    Args:
        batch: Columns of numbers, booleans, text, bytes, dates, or lists of these.
        leave_out: Names of columns that are no features.

    Returns:
        The other columns, each a list of integers, floats, text or bytes.

    Raises:
        UsageError: A column has a type that has no statistics, such as a struct.

    Example:
        >>> import pyarrow as pa
        >>> batch = pa.RecordBatch.from_arrays([pa.array([7, None])], ["clicks"])
        >>> as_features(batch).column(0).to_pylist()
        [[7], None]
    """
    import pyarrow as pa

    kept = [field.name for field in batch.schema if field.name not in leave_out]
    columns = [_as_lists(name, batch.column(batch.schema.get_field_index(name))) for name in kept]
    return pa.RecordBatch.from_arrays(columns, kept)


def _as_lists(name: str, array: pa.Array) -> pa.Array:
    """Wrap one column into lists, or rebuild its lists, without nulls inside."""
    import numpy as np
    import pyarrow as pa

    kind = array.type
    if pa.types.is_null(kind):
        return array
    if pa.types.is_fixed_size_list(kind):
        array = _variable_lists(array)
    elif pa.types.is_large_list(kind):
        array = array.cast(pa.list_(kind.value_type))
    if pa.types.is_list(array.type):
        offsets, values = array.offsets.to_numpy(), array.values
    else:
        offsets, values = np.arange(len(array) + 1, dtype=np.int32), array
    values = _plain(name, values)
    if values.null_count:
        present = np.zeros(len(values) + 1, np.int32)
        np.cumsum(values.is_valid().to_numpy(zero_copy_only=False), out=present[1:])
        offsets, values = present[offsets], values.drop_null()
    if not array.null_count:
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
    missing = np.append(array.is_null().to_numpy(zero_copy_only=False), False)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32(), mask=missing), values)


def _variable_lists(array: pa.FixedSizeListArray) -> pa.ListArray:
    """Give lists of a fixed size offsets; a null list has no items."""
    import numpy as np
    import pyarrow as pa

    valid = array.is_valid().to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(array) + 1, np.int32)
    np.cumsum(valid * array.type.list_size, out=offsets[1:])
    marked = pa.array(offsets, mask=np.append(~valid, False))
    return pa.ListArray.from_arrays(marked, array.drop_null().flatten())


def _plain(name: str, values: pa.Array) -> pa.Array:
    """Bring values to a type that TFDV counts."""
    import pyarrow as pa

    types, kind = pa.types, values.type
    if types.is_null(kind):
        return values.cast(pa.float32())
    if types.is_dictionary(kind):
        return _plain(name, values.dictionary_decode())
    if types.is_boolean(kind):
        return values.cast(pa.int64())
    if types.is_decimal(kind):
        return values.cast(pa.float64())
    if types.is_temporal(kind):
        return values.view(pa.int64() if kind.bit_width == 64 else pa.int32())
    if types.is_large_string(kind) or types.is_large_binary(kind):
        return values.cast(pa.string() if types.is_large_string(kind) else pa.binary())
    if types.is_integer(kind) or kind in (pa.float32(), pa.float64(), pa.string(), pa.binary()):
        return values
    raise UsageError(
        "A column has a type without statistics.",
        where=f"column '{name}'",
        expected="numbers, booleans, text, bytes, dates, or lists of these",
        received=str(kind),
    )
