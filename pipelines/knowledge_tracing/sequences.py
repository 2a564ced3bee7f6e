"""Ingested sequences: which split each belongs to, and their steps laid end to end.

A split takes whole sequences. Within a batch the steps of all rows lie in one flat array, a row
being a stretch of it; nothing here or downstream walks over rows in Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from learnloop.artifacts import Records
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Integers: TypeAlias = NDArray[np.int64]

TABLE = "sequences"

VALIDATION_SHARE = 0.2
"""The part of the training sequences kept for validation, where no files say which."""

BATCH_SEQUENCES = 4_096
"""Sequences in memory at once."""


@dataclass(frozen=True)
class Part:
    """The sequences of one split.

    Attributes:
        partition: The file they come from, as ingested.
        is_validation: Takes the hashed validation part (True), the rest (False) or all (None).
    """

    partition: str
    is_validation: bool | None = None


def find_parts(partitions: Set[str], fold: int) -> dict[str, Part]:
    """Decide which ingested partition makes up each split.

    Args:
        partitions: The partitions there are.
        fold: The fold to learn from.

    Returns:
        By split, in the order of writing.

    Raises:
        UsageError: There is nothing to learn from, or nothing to test on.

    Example:
        >>> find_parts({"train", "train1", "valid1", "test"}, fold=1)["validation"]
        Part(partition='valid1', is_validation=None)
    """
    test = {"test": Part("test")}
    if "test" in partitions and {f"train{fold}", f"valid{fold}"} <= partitions:
        return {"train": Part(f"train{fold}"), "validation": Part(f"valid{fold}"), **test}
    if {"train", "test"} <= partitions:
        return {"train": Part("train", False), "validation": Part("train", True), **test}
    raise UsageError(
        "The sequences cannot be split.",
        where="windows",
        expected=f"the partitions test, and train or train{fold} with valid{fold}",
        received=", ".join(sorted(partitions)) or "no sequences",
        next="point the source at a folder that holds *_train.csv and *_test.csv",
    )


def is_for_validation(sequences: Integers) -> NDArray[np.bool_]:
    """Deal sequences to validation by a hash of their number, the same in every run.

    Args:
        sequences: int64 `[sequences]`.

    Returns:
        True for about :data:`VALIDATION_SHARE` of them.
    """
    mixed = sequences.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # wraps around: a hash
    return (mixed >> np.uint64(11)) * 2.0**-53 < VALIDATION_SHARE


def partitions_of(records: Records) -> frozenset[str]:
    """Name the partitions that were ingested."""
    import pyarrow.compute as pc

    batches = records.batches(TABLE, columns=["partition"])
    return frozenset(name for batch in batches for name in pc.unique(batch.column(0)).to_pylist())


def read_part(records: Records, part: Part) -> Iterator[pa.RecordBatch]:
    """Read the sequences of one split, in the order of the file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for batch in records.batches(TABLE, rows=BATCH_SEQUENCES):
        chosen = pc.equal(batch.column("partition"), part.partition)
        if part.is_validation is not None:
            held_out = is_for_validation(batch.column("sequence").to_numpy())
            chosen = pc.and_(chosen, pa.array(held_out == part.is_validation))
        yield batch.filter(chosen)


def count_single(records: Records, part: Part) -> int:
    """Count the sequences of length 1, of which nothing can be predicted."""
    return sum(int(np.sum(lengths_of(batch) == 1)) for batch in read_part(records, part))


def lengths_of(batch: pa.RecordBatch) -> Integers:
    """Count the steps of each sequence: int64 `[sequences]`."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(batch.column("skills")).to_numpy()
    return np.asarray(lengths, dtype=np.int64)


def starts_of(lengths: Integers) -> Integers:
    """Where each row's steps begin, rows end to end."""
    return np.cumsum(lengths) - lengths


def steps_of(lengths: Integers) -> Integers:
    """Number the steps of each row from 0, rows end to end."""
    return np.arange(int(lengths.sum())) - np.repeat(starts_of(lengths), lengths)
