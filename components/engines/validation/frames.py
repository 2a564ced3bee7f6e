"""Pandas frames for Great Expectations: only the columns asked about, and few rows at a time.

A split of up to :data:`ROWS_TOGETHER` rows is one frame. In a larger one, what is judged row by row
comes in parts of that size, and what needs a whole column comes column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from components.engines.validation.suite import Expectation

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ROWS_TOGETHER = 1_000_000
_WITHOUT_ORDER = ("regex", "in_set", "value_lengths", "null")


class Splits(Protocol):
    """Reads the rows of named splits; :class:`learnloop.artifacts.Examples` does."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows by split."""

    def schema(self, name: str) -> pa.Schema:
        """The columns of a split."""

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """All rows of a split."""

    def batches(
        self, name: str, rows: int = ..., columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a split, some at a time."""


def frames(
    asked: Mapping[int, Expectation], splits: Splits, split: str, rows_together: int
) -> Iterator[tuple[pd.DataFrame, list[int]]]:
    """Make the frames that expectations are judged on, one at a time.

    Args:
        asked: Expectations whose columns exist, by position.
        splits: Reads rows.
        split: The split judged.
        rows_together: The most rows in a frame, where the expectations allow.

    Yields:
        A frame, and the positions of those to judge on it. A position may come several times, with
        parts of the rows.
    """
    import pandas as pd
    import pyarrow as pa

    schema, rows = splits.schema(split), splits.counts[split]
    left = dict(asked)

    def take(positions: Sequence[int]) -> list[Expectation]:
        return [left.pop(position) for position in positions]

    about_names = [n for n, e in left.items() if e.is_about_column_names]
    if about_names:
        take(about_names)
        yield pd.DataFrame(columns=schema.names), about_names
    without_columns = [n for n, e in left.items() if not e.columns]
    if without_columns:
        take(without_columns)
        yield pd.DataFrame(index=pd.RangeIndex(rows)), without_columns
    for column in (field.name for field in schema if _is_list(field.type)):
        positions = [n for n, e in left.items() if e.columns == (column,)]
        if positions:
            group = take(positions)
            for batch in splits.batches(split, rows_together, [column]):
                yield _frame(pa.table({column: batch.column(0).flatten()}), group), positions
    if rows > rows_together:
        positions = [n for n, e in left.items() if e.is_row_by_row]
        group = take(positions)
        for batch in splits.batches(split, rows_together, _columns(group)) if group else ():
            yield _frame(pa.Table.from_batches([batch]), group), positions
        for position in list(left):
            group = take([position])
            yield _frame(splits.table(split, _columns(group)), group), [position]
    elif left:
        positions = list(left)
        group = take(positions)
        yield _frame(splits.table(split, _columns(group)), group), positions


def _columns(group: Sequence[Expectation]) -> list[str]:
    return sorted({column for expectation in group for column in expectation.columns})


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _frame(table: pa.Table, group: Sequence[Expectation]) -> pd.DataFrame:
    """Convert columns to what Great Expectations judges as a whole and not value by value.

    Numbers become 64 bits wide; text that is nowhere compared with other text becomes categories.
    """
    import pyarrow as pa

    compared = {
        column
        for e in group
        for column in e.columns
        if len(e.columns) > 1 or not any(word in e.type for word in _WITHOUT_ORDER)
    }
    categories = [
        field.name
        for field in table.schema
        if pa.types.is_string(field.type) and field.name not in compared
    ]
    wide = [field.with_type(_widened(field.type)) for field in table.schema]
    return table.cast(pa.schema(wide)).to_pandas(categories=categories, split_blocks=True)


def _widened(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_floating(kind):
        return pa.float64()
    return pa.int64() if pa.types.is_signed_integer(kind) else kind
