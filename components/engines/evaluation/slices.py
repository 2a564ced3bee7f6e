"""The figures of parts of the rows: one slice for each value of a column, or of columns crossed.

A slice smaller than the minimum is counted and never shown: its figures would be noise, and a
handful of learners could be recognised in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.engines.evaluation.metrics import Metrics, measure
from components.engines.evaluation.predictions import Integers, Predictions
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import pyarrow as pa

CROSS = "*"
MISSING = "(missing)"
MOST_VALUES = 250


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which value each row has in a column, or in columns crossed.

    Attributes:
        column: The column's name, or several joined by ``*``.
        values: The distinct values as text, sorted.
        code: ``[rows]`` int64, the place of the row's value in ``values``.
    """

    column: str
    values: tuple[str, ...]
    code: Integers

    @property
    def rows(self) -> Integers:
        """How many rows each value has, ``[values]``."""
        return np.bincount(self.code, minlength=len(self.values)).astype(np.int64)


@dataclass(frozen=True)
class Slice:
    """The figures of the rows with one value of a column."""

    column: str
    value: str
    metrics: Metrics


@dataclass(frozen=True)
class Withheld:
    """The slices of a column that were too small to show."""

    column: str
    slices: int
    rows: int


def group(table: pa.Table, column: str) -> Grouping:
    """Group the rows of a table by a column, or by several joined with ``*``.

    Args:
        table: The raw rows.
        column: A column's name, as ``gender``, or a cross, as ``gender*region``.

    Returns:
        The grouping, null being the value ``(missing)``.

    Raises:
        UsageError: If a column is absent, or has too many values to be a slice.
    """
    grouping: Grouping | None = None
    for name in column.split(CROSS):
        part = _group_by_one(table, name)
        grouping = part if grouping is None else _cross(grouping, part)
    assert grouping is not None  # str.split never gives an empty list
    return grouping


def measure_slices(
    made: Predictions, grouping: Grouping, minimum_rows: int, threshold: float = 0.5
) -> tuple[tuple[Slice, ...], Withheld | None]:
    """Take every figure of each value of a grouping.

    Args:
        made: Predictions of the rows that were grouped.
        grouping: Which value each row has.
        minimum_rows: Slices with fewer rows are withheld.
        threshold: Where a prediction becomes a decision.

    Returns:
        The slices in order of value, and how much was withheld, None when nothing was.
    """
    shown = grouping.rows >= minimum_rows
    slices = tuple(
        Slice(grouping.column, grouping.values[code], measure(made.only(chosen), threshold))
        for code in np.flatnonzero(shown).tolist()
        for chosen in [grouping.code == code]
    )
    hidden = ~shown & (grouping.rows > 0)
    if not hidden.any():
        return slices, None
    withheld = Withheld(
        grouping.column, int(np.count_nonzero(hidden)), int(grouping.rows[hidden].sum())
    )
    return slices, withheld


def _group_by_one(table: pa.Table, name: str) -> Grouping:
    import pyarrow as pa
    from pyarrow import compute

    if name not in table.column_names:
        raise UsageError(
            f"There is no column '{name}' to slice by.",
            expected=closest(name, table.column_names),
            received=name,
            next=f"name a raw column of the examples, or several crossed as a{CROSS}b",
        )
    text = compute.fill_null(compute.cast(table.column(name), pa.string()), MISSING)
    encoded = text.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    values = np.asarray(encoded.dictionary.to_pylist(), dtype=object)
    if values.size > MOST_VALUES:
        raise UsageError(
            f"Column '{name}' has too many values to slice by.",
            expected=f"at most {MOST_VALUES} distinct values",
            received=f"{values.size:,} distinct values",
            next="slice by a column of few values, or cut this one into bands first",
        )
    order = np.argsort(values.astype(str), kind="stable")
    place = np.empty(values.size, dtype=np.int64)
    place[order] = np.arange(values.size)
    code = place[encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)]
    return Grouping(name, tuple(str(value) for value in values[order]), code)


def _cross(left: Grouping, right: Grouping) -> Grouping:
    both = left.code * len(right.values) + right.code
    present, code = np.unique(both, return_inverse=True)
    values = tuple(
        f"{left.values[pair // len(right.values)]}, {right.values[pair % len(right.values)]}"
        for pair in present.tolist()
    )
    return Grouping(f"{left.column}{CROSS}{right.column}", values, code.astype(np.int64))
