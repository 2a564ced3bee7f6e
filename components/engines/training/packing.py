"""Transformed examples as a few packed arrays, made once and outside the hot loop.

A batch of twelve named columns costs twelve gathers, and a Python loop that hands them to Keras
costs far more. So all columns of one kind lie side by side in one matrix, a *block*: scalars and
fixed-length lists of one dtype are the columns of a `[rows, width]` matrix. One gather fetches a
batch of a block and one split names its columns again, inside the compiled graph, so that a model
keeps its ordinary named inputs.

A list of varying length is a block of its own: its tokens end to end, with the row boundaries
beside. Sequences are never stored padded: the block's last token is the padding, and a batch is
padded, at its end, to its own longest row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from components.engines.training.features import (
    FeatureColumn,
    describe_column,
    holds_lists,
    is_numeric,
)
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.generic]

LABEL_PADDING = -1.0
"""A label below zero marks a step or a row without a known answer: it adds nothing to the loss."""


@dataclass(frozen=True)
class Block:
    """Columns of one dtype side by side, or one sequence column.

    Attributes:
        columns: The columns, in the order in which they lie in `values`.
        values: `[rows, width]`, or `[tokens + 1, 1]` where `splits` is given; the token added at
            the end is the padding.
        splits: int64 `[rows + 1]`: row i owns tokens `splits[i]` up to `splits[i + 1]`.
    """

    columns: tuple[FeatureColumn, ...]
    values: Array
    splits: NDArray[np.int64] | None

    @property
    def arrays(self) -> tuple[Array, ...]:
        """`(values,)`, or `(values, splits)` of a sequence."""
        return (self.values,) if self.splits is None else (self.values, self.splits)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many matrix columns each feature takes."""
        return tuple((column.shape or (1,))[0] or 1 for column in self.columns)


@dataclass(frozen=True)
class PackedExamples:
    """Examples in memory, packed, with the label and an optional weight among the columns.

    Attributes:
        rows: The number of examples.
        blocks: All numeric columns.
        label: The column to predict, float32; below zero where the answer is not known.
        weight: A column of weights by row or step, or None.
    """

    rows: int
    blocks: tuple[Block, ...]
    label: str
    weight: str | None = None

    @property
    def features(self) -> tuple[FeatureColumn, ...]:
        """The columns a model may read: all but the label and the weight, sorted by name."""
        hidden = {self.label, self.weight}
        columns = (column for block in self.blocks for column in block.columns)
        return tuple(sorted((c for c in columns if c.name not in hidden), key=lambda c: c.name))

    @property
    def is_per_step(self) -> bool:
        """Whether the label is a list: one answer is asked at every step."""
        block, at = self._find(self.label)
        return block.columns[at].shape != ()

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 `[rows]`: steps of the longest sequence of each row, 1 where there is none."""
        longest = np.ones(self.rows, np.int64)
        for block in self.blocks:
            if block.splits is not None:
                np.maximum(longest, np.diff(block.splits), out=longest)
        return longest

    def column(self, name: str) -> Array:
        """Return one column: `[rows]`, `[rows, k]`, or flat `[tokens]` for a sequence."""
        block, at = self._find(name)
        start = sum(block.widths[:at])
        if block.splits is not None:
            return block.values[:-1, 0]
        if block.columns[at].shape == ():
            return block.values[:, start]
        return block.values[:, start : start + block.widths[at]]

    def splits(self, name: str) -> NDArray[np.int64] | None:
        """Return the row boundaries of a sequence column, None for any other."""
        return self._find(name)[0].splits

    @property
    def longest(self) -> int:
        """Steps of the longest sequence, 1 where there is none."""
        return int(self.lengths.max(initial=1))

    def chunks(self, generator: np.random.Generator | None = None) -> Iterator[PackedExamples]:
        """Yield all examples at once: what is in memory is one chunk."""
        yield self

    def _find(self, name: str) -> tuple[Block, int]:
        for block in self.blocks:
            for at, column in enumerate(block.columns):
                if column.name == name:
                    return block, at
        raise KeyError(name)


def pack(
    table: pa.Table, *, label: str, weight: str | None = None, columns: Sequence[str] | None = None
) -> PackedExamples:
    """Pack transformed examples for training.

    Columns that are not numeric (identifiers carried along for slicing) are left out.

    Args:
        table: One split. Scalars, fixed-size lists `[rows, k]`, or lists of varying length.
        label: The column to predict: one value a row, or one a step.
        weight: A column of weights in the same shape as the label.
        columns: The features to keep; all numeric ones by default.

    Returns:
        The packed examples; floats as float32, integers and booleans as int32.

    Raises:
        UsageError: If a column is missing, has nulls or numbers that are not finite, is nested more
            than once, or holds integers beyond int32; or if a label is above 1.

    Example:
        >>> import pyarrow as pa
        >>> examples = pack(pa.table({"clicks": [1.0, 2.0], "failed": [0, 1]}), label="failed")
        >>> [column.name for column in examples.features]
        ['clicks']
    """
    groups: dict[tuple[str, ...], list[_Column]] = {}
    for name in wanted_columns(table.schema, label, weight, columns):
        column = _read(table, name, label, weight)
        key = (column.feature.dtype, *([] if column.splits is None else [name]))
        groups.setdefault(key, []).append(column)
    blocks = tuple(
        _block(group, LABEL_PADDING if group[0].feature.name == label else 0)
        for group in groups.values()
    )
    return PackedExamples(table.num_rows, blocks, label, weight)


def wanted_columns(
    schema: pa.Schema, label: str, weight: str | None, columns: Sequence[str] | None
) -> list[str]:
    """Name the columns to read, sorted: the features, the label and the weight.

    Raises:
        UsageError: If there is no such column.
    """
    needed = {*(columns or ()), label, *([weight] if weight else ())}
    for name in sorted(needed):
        if name not in schema.names:
            raise UsageError(
                f"There is no transformed column '{name}'.",
                where="train",
                expected=closest(name, schema.names),
                received=repr(name),
                next="return the column from preprocessing_fn, or name another",
            )
    if columns is not None:
        return sorted(needed)
    return sorted(needed | {field.name for field in schema if is_numeric(field.type)})


@dataclass(frozen=True)
class _Column:
    feature: FeatureColumn
    values: Array
    splits: NDArray[np.int64] | None


def _read(table: pa.Table, name: str, label: str, weight: str | None) -> _Column:
    import pyarrow as pa

    field = table.schema.field(name)
    chunks = table.column(name).chunks or [pa.array([], field.type)]
    array = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)
    feature = describe_column(field)
    if name in (label, weight):
        feature = FeatureColumn(name, "float32", feature.shape)
    if array.null_count:
        raise _has_gaps(name, "missing", array.null_count)
    values = _numbers(feature, array.flatten() if holds_lists(array.type) else array)
    if name == label and values.max(initial=0) > 1:
        raise UsageError(
            f"The label '{name}' is no answer of yes or no.",
            where="train",
            expected="0 or 1, or a value below 0 where the answer is not known",
            received=f"{values.max():g}",
            next="make it 0 or 1 in preprocessing_fn",
        )
    if feature.is_sequence:
        offsets = array.offsets.to_numpy().astype(np.int64)
        return _Column(feature, values, offsets - offsets[0])
    return _Column(feature, values.reshape(len(array), *feature.shape), None)


def _numbers(feature: FeatureColumn, array: pa.Array) -> Array:
    if array.null_count:
        raise _has_gaps(feature.name, "missing", array.null_count)
    if not is_numeric(array.type) or holds_lists(array.type):
        raise UsageError(
            f"Column '{feature.name}' cannot feed a model.",
            where="train",
            expected="numbers, or one list of numbers a row",
            received=str(array.type),
            next="make it numeric in preprocessing_fn (tft.compute_and_apply_vocabulary)",
        )
    values = array.to_numpy(zero_copy_only=False)
    if feature.dtype == "float32":
        numbers = np.asarray(values, dtype=np.float32)
        if not np.isfinite(numbers).all():
            raise _has_gaps(feature.name, "not finite", np.count_nonzero(~np.isfinite(numbers)))
        return numbers
    whole = np.asarray(values).astype(np.int32)
    if values.dtype.itemsize > whole.dtype.itemsize and not np.array_equal(whole, values):
        raise UsageError(
            f"Column '{feature.name}' has integers too large for an index.",
            where="train",
            expected=f"at most {np.iinfo(np.int32).max:,}",
            received=f"{values.max():,}",
            next="hash or number them in preprocessing_fn (tft.hash_strings, a vocabulary)",
        )
    return whole


def _has_gaps(name: str, kind: str, count: int) -> UsageError:
    return UsageError(
        f"Column '{name}' has values missing or not finite after the transform.",
        where="train",
        expected="a finite number everywhere",
        received=f"{count:,} {kind}",
        next="fill or clip them in preprocessing_fn",
    )


def _block(group: list[_Column], padding: float) -> Block:
    features = tuple(column.feature for column in group)
    splits = group[0].splits
    if splits is not None:
        tokens = group[0].values
        padded = np.append(tokens, np.asarray([padding], tokens.dtype))
        return Block(features, padded[:, None], splits)
    parts = [c.values if c.values.ndim == 2 else c.values[:, None] for c in group]
    return Block(features, np.concatenate(parts, axis=1), None)
