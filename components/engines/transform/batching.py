"""Batches for analysis and transformation, cut by the rows alone.

Sums are added up batch by batch, in 32 bits within a batch, so where a batch ends is part of the
result. It must not depend on how a file happens to store its rows, nor on the machine: a batch ends
at a number of rows or, for sequences, at a number of steps, whichever comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BATCH_ROWS = 65_536
"""Rows in a batch at most."""

BATCH_STEPS = 524_288
"""Steps in a batch at most, counted in each row's longest list; a longer row is a batch alone."""


def rebatch(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut a stream of record batches anew, so that equal rows give equal batches.

    Args:
        batches: Record batches of one schema, of any sizes.

    Yields:
        The rows in their order, :data:`BATCH_ROWS` or :data:`BATCH_STEPS` at a time.
    """
    pending: list[pa.RecordBatch] = []
    rows = steps = 0
    for batch in batches:
        ends = _steps(batch).cumsum()
        start = 0
        while start < batch.num_rows:
            before = int(ends[start - 1]) if start else 0
            fitting = int(ends.searchsorted(before + BATCH_STEPS - steps, side="right")) - start
            taken = min(fitting, BATCH_ROWS - rows, batch.num_rows - start)
            if taken <= 0 and pending:
                yield _join(pending)
                pending, rows, steps = [], 0, 0
                continue
            taken = max(taken, 1)
            pending.append(batch.slice(start, taken))
            start += taken
            rows += taken
            steps += int(ends[start - 1]) - before
    if pending:
        yield _join(pending)


def _steps(batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
    """The length of each row's longest list, at least 1."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    steps: np.ndarray[Any, Any] = np.ones(batch.num_rows, np.int64)
    for column in batch.columns:
        kind = column.type
        if pa.types.is_fixed_size_list(kind):
            steps = np.maximum(steps, kind.list_size)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            steps = np.maximum(steps, pc.list_value_length(column).fill_null(0).to_numpy())
    return steps


def _join(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    import pyarrow as pa

    if len(parts) == 1:
        return parts[0]
    return pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
