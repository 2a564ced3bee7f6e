"""Which rows make up each batch of an epoch, and how a batch is read from packed blocks.

Sequences are sorted by length, ties in random order, and cut into batches that are then shuffled:
rows of about equal length share a batch and next to no padding is computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from components.engines.training.packing import Block, PackedExamples

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import NDArray

    BlockTensors: TypeAlias = tuple[tf.Tensor, ...]

CELLS = 65_536
"""Rows times steps in one batch of prediction: large enough to be fast, some MB of activations."""

LIKE_LENGTH = 1.05
"""Lengths within this ratio count as equal when batches are formed."""


@dataclass(frozen=True)
class BatchPlan:
    """The batches of an epoch.

    Attributes:
        order: int32 `[rows]`: row numbers, batch after batch.
        bounds: int32 `[batches + 1]`: batch i takes `order[bounds[i]:bounds[i + 1]]`.
    """

    order: NDArray[np.int32]
    bounds: NDArray[np.int32]

    @property
    def batches(self) -> int:
        """The number of batches."""
        return len(self.bounds) - 1


def shuffled_batches(
    examples: PackedExamples, batch_size: int, generator: np.random.Generator
) -> BatchPlan:
    """Plan a pass of training: every row once, in an order that the generator decides."""
    order = generator.permutation(examples.rows).astype(np.int32)
    bounds = _bounds(examples.rows, batch_size)
    lengths = examples.lengths
    if lengths.max(initial=1) == 1:
        return BatchPlan(order, bounds)
    like = np.floor(np.log(lengths[order]) / np.log(LIKE_LENGTH))
    order = order[np.argsort(like, kind="stable")]
    batches = [order[start:stop] for start, stop in itertools.pairwise(bounds)]
    batches = [batches[index] for index in generator.permutation(len(batches))]
    sizes = np.cumsum([0, *(len(batch) for batch in batches)], dtype=np.int32)
    return BatchPlan(np.concatenate(batches), sizes)


def batches_by_length(
    lengths: NDArray[np.int64], cells: int = CELLS
) -> Iterator[NDArray[np.int64]]:
    """Cut rows into batches of like length, longest first, else in row order.

    Args:
        lengths: Steps of each row, at least 1.
        cells: About how many rows times steps a batch may hold.

    Yields:
        Row numbers.

    Example:
        >>> [batch.tolist() for batch in batches_by_length(np.array([1, 3, 1, 2]), cells=4)]
        [[1], [3, 0], [2]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, cells // int(lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def place(examples: PackedExamples) -> tuple[BlockTensors, ...]:
    """Hand the blocks to TensorFlow: `(values,)` or `(values, splits)` for each."""
    import tensorflow as tf

    return tuple(tuple(map(tf.convert_to_tensor, block.arrays)) for block in examples.blocks)


def read_batch(
    blocks: tuple[Block, ...], tensors: tuple[BlockTensors, ...], rows: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Gather one batch and name its columns again; runs inside a compiled graph.

    Args:
        blocks: The layout.
        tensors: What `place` returned.
        rows: int32 `[batch]`.

    Returns:
        By column name: `[batch, k]` (k is 1 for scalars), `[batch, time]` for a sequence.
    """
    import tensorflow as tf

    batch: dict[str, tf.Tensor] = {}
    for block, arrays in zip(blocks, tensors, strict=True):
        if block.splits is not None:
            values, splits = arrays
            batch[block.columns[0].name] = _read_sequence(values, splits, rows)
            continue
        parts = tf.split(tf.gather(arrays[0], rows), block.widths, axis=1)
        batch.update(zip((column.name for column in block.columns), parts, strict=True))
    return batch


def _read_sequence(values: tf.Tensor, splits: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    start = tf.gather(splits, rows)
    length = tf.gather(splits, rows + 1) - start
    step = tf.range(tf.reduce_max(length))
    padding = tf.shape(values, out_type=tf.int64)[0] - 1
    token = tf.where(step < length[:, None], start[:, None] + step, padding)
    return tf.gather(values[:, 0], token)


def _bounds(rows: int, batch_size: int) -> NDArray[np.int32]:
    return np.append(np.arange(0, rows, batch_size, dtype=np.int32), np.int32(rows))
