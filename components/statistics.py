"""Describe every split with TensorFlow Data Validation, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.engines.validation.statistics import (
    BATCH_ROWS,
    compute_statistics,
    digest_statistics,
)
from learnloop.artifacts import Examples, Statistics
from learnloop.component import Context, Input, Output, component

if TYPE_CHECKING:
    import pyarrow as pa


@component
def statistics(
    examples: Input[Examples],
    statistics: Output[Statistics],
    *,
    leave_out: tuple[str, ...] = ("learner",),
    context: Context,
) -> None:
    """Compute the statistics that a schema, drift and skew are judged by.

    Args:
        examples: Rows by split.
        statistics: TFDV statistics by split.
        leave_out: Columns that are no features; identifiers of people belong here, since
            statistics list the most frequent values. Names that do not occur are ignored.
        context: Takes progress.

    Raises:
        UsageError: A column has a type that has no statistics.
    """
    digests = []
    for split in examples.names:
        batches = _batches(examples, split, context)
        computed = compute_statistics(batches, leave_out)
        statistics.write(split, computed)
        digests.append(digest_statistics(computed))
    statistics.set_content_digest(hashlib.sha256("\n".join(digests).encode()).hexdigest())
    statistics.describe(rows=examples.counts)


def _batches(examples: Examples, split: str, context: Context) -> Iterator[pa.RecordBatch]:
    """Read a split batch by batch, at least one, and tell how far it is."""
    import pyarrow as pa

    total, done = examples.counts[split], 0
    if not total:
        yield pa.RecordBatch.from_pylist([], schema=examples.schema(split))
    for batch in examples.batches(split, rows=BATCH_ROWS):
        yield batch
        done += batch.num_rows
        context.report(f"statistics of {split}", done=done, total=total)
