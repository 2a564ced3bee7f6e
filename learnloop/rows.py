"""The canonical digest of rows: equal rows give equal digests, however they were chunked or stored.

Parquet files of equal rows may differ in bytes (row groups, library versions, null padding), so
cache keys and comparisons are made of the rows themselves: types, values and nulls, column by
column, in blocks of a fixed number of rows. Nothing here reads or writes files.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_ROWS = 65_536


class RowDigest:
    """Digests record batches as they stream by.

    Example:
        >>> import pyarrow as pa
        >>> whole, halves = RowDigest(), RowDigest()
        >>> table = pa.table({"score": [1.0, None, 3.0]})
        >>> whole.update(table)
        >>> halves.update(table.slice(0, 2)); halves.update(table.slice(2))
        >>> whole.hexdigest() == halves.hexdigest()
        True
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._schema: pa.Schema | None = None

    def update(self, data: pa.Table | pa.RecordBatch) -> None:
        """Add rows.

        Args:
            data: A table or record batch; every call's schema must be the same.
        """
        import pyarrow as pa

        table = data if isinstance(data, pa.Table) else pa.Table.from_batches([data])
        if self._schema is None:
            self._start(table.schema)
        self._pending.append(table)
        self._pending_rows += table.num_rows
        if self._pending_rows >= BLOCK_ROWS:
            self._drain(keep=self._pending_rows % BLOCK_ROWS)

    def start(self, schema: pa.Schema) -> None:
        """Fix the schema, so that a table without rows has a digest too.

        Args:
            schema: The columns' names and types.
        """
        if self._schema is None:
            self._start(schema)

    def hexdigest(self) -> str:
        """Digest all rows added so far; no rows may be added afterwards.

        Returns:
            A SHA-256 in hexadecimal.
        """
        self._drain(keep=0)
        return self._hash.hexdigest()

    def _start(self, schema: pa.Schema) -> None:
        self._schema = schema
        for field in schema:
            self._hash.update(f"{field.name}\0{field.type}\n".encode())

    def _drain(self, keep: int) -> None:
        import pyarrow as pa

        if not self._pending:
            return
        table = pa.concat_tables(self._pending) if len(self._pending) > 1 else self._pending[0]
        end = self._pending_rows - keep
        for start in range(0, end, BLOCK_ROWS):
            block = table.slice(start, min(BLOCK_ROWS, end - start))
            self._hash.update(block.num_rows.to_bytes(8, "little"))
            for column in block.columns:
                _add_array(self._hash, _combine(column))
        self._pending = [table.slice(end)] if keep else []
        self._pending_rows = keep


def _combine(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    if column.num_chunks == 1:
        return column.chunk(0)
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return (
            pa.concat_arrays(combined.chunks)
            if combined.num_chunks
            else pa.array([], combined.type)
        )
    return combined


def _add_array(digest: hashlib._Hash, array: pa.Array) -> None:
    """Add one array's nulls and values; what lies under a null never counts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    types = pa.types
    kind = array.type
    if types.is_dictionary(kind):
        _add_array(digest, array.cast(kind.value_type))
        return
    digest.update(array.null_count.to_bytes(8, "little"))
    if array.null_count:
        digest.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if types.is_null(kind):
        return
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lengths = pc.list_value_length(array).fill_null(0).cast(pa.int64())
        digest.update(np.ascontiguousarray(lengths.to_numpy()).data)
        _add_array(digest, array.drop_null().flatten())
    elif types.is_struct(kind):
        for child in array.flatten():
            _add_array(digest, child)
    elif types.is_string(kind) or types.is_binary(kind):
        filled = array.fill_null("" if types.is_string(kind) else b"")
        lengths = pc.binary_length(filled).to_numpy()
        digest.update(np.ascontiguousarray(lengths).data)
        _, offsets, values = filled.buffers()
        if values is not None and len(filled):
            ends = np.frombuffer(offsets, np.int32, len(filled) + 1, filled.offset * 4)
            digest.update(memoryview(values)[int(ends[0]) : int(ends[-1])])
    elif types.is_boolean(kind):
        digest.update(np.packbits(array.fill_null(False).to_numpy(zero_copy_only=False)).tobytes())
    elif types.is_integer(kind) or types.is_floating(kind):
        filled = array.fill_null(0) if array.null_count else array
        digest.update(np.ascontiguousarray(filled.to_numpy()).data)
    elif types.is_temporal(kind):
        _add_array(digest, array.view(pa.int64() if kind.bit_width == 64 else pa.int32()))
    else:
        _add_array(digest, array.cast(pa.string()))
