"""Files that grow as learners are simulated, with the same bytes however many come at once."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simulator.corruption import Corruptor
from simulator.draws import Flags, Floats, Integers

Column: TypeAlias = Integers | Floats | Flags | pa.Array
"""What a file takes as a column."""

ROWS_PER_GROUP = 131_072
"""Rows of a Parquet row group."""

ROWS_PER_PART = 32 * ROWS_PER_GROUP
"""Rows of one file of a Parquet folder."""


def text(values: Column) -> pa.Array:
    """Return values as Arrow bytes, as they are written in a CSV file; a missing value is empty.

    Args:
        values: Integers, whole floats with NaN where missing, booleans (0/1), or Arrow strings.
    """
    if isinstance(values, pa.Array):
        return values.cast(pa.binary())
    if values.dtype.kind == "f":
        missing = np.isnan(values)
        is_whole = bool(np.all(np.floor(values[~missing]) == values[~missing]))
        kept = np.where(missing, 0, values)
        numbers = pa.array(kept.astype(np.int64) if is_whole else kept, mask=missing)
        return numbers.cast(pa.string()).fill_null("").cast(pa.binary())
    whole = values.astype(np.int64) if values.dtype == np.bool_ else values
    return pa.array(whole).cast(pa.string()).cast(pa.binary())


def named(places: Integers, names: tuple[str, ...]) -> pa.Array:
    """Return the names at the places, Arrow strings; -1 gives a missing value as an empty one."""
    return pa.array((*names, "")).take(pa.array(np.where(places < 0, len(names), places)))


def content(lines: pa.Array) -> memoryview:
    """Return the bytes of consecutive Arrow strings without copying them."""
    if not len(lines):
        return memoryview(b"")
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset :][: len(lines) + 1]
    return memoryview(lines.buffers()[2])[int(offsets[0]) : int(offsets[-1])]


class CsvFile:
    """A CSV file with every field quoted, as OULAD's are.

    Args:
        path: The file to write.
        columns: Names of the header.
        corruptor: Damages some of the lines.
    """

    def __init__(
        self, path: Path, columns: tuple[str, ...], corruptor: Corruptor | None = None
    ) -> None:
        self._columns = columns
        self._corruptor = corruptor
        self._file: BinaryIO = path.open("wb")
        self._file.write(b'"' + '","'.join(columns).encode() + b'"\n')
        self._lines = 1
        self.rows = 0

    def write(self, *columns: Column) -> None:
        """Append rows, given by column in the order of the header."""
        texts = [text(column) for column in columns]
        quoted = pc.binary_join_element_wise(*texts, pa.scalar(b'","'))
        lines = pc.binary_join_element_wise(
            pa.scalar(b'"'), quoted, pa.scalar(b'"\n'), pa.scalar(b"")
        )
        if self._corruptor is not None:
            given = dict(zip(self._columns, texts, strict=True))
            lines = self._corruptor.damage(given, lines, self.rows, self._lines + 1)
        self._file.write(content(lines))
        self._lines += len(lines)
        self.rows += len(texts[0])

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ParquetFile:
    """Parquet rows in row groups of a fixed size, in one file or in parts of a fixed size.

    Args:
        path: The file, or a folder that gets ``part-00000.parquet`` and so on.
        schema: Columns and types.
        rows_per_file: Rows of a part; None for one file.
    """

    def __init__(
        self, path: Path, schema: pa.Schema, rows_per_file: int | None = ROWS_PER_PART
    ) -> None:
        self._path = path
        self._schema = schema
        self._rows_per_file = rows_per_file
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._files = 0
        self._writer: pq.ParquetWriter | None = None
        self._rows_in_file = 0
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Append rows; whole row groups are written, the rest waits for more."""
        self._waiting.append(table)
        self._waiting_rows += len(table)
        self.rows += len(table)
        if self._waiting_rows < ROWS_PER_GROUP:
            return
        waiting = pa.concat_tables(self._waiting)
        whole = len(waiting) // ROWS_PER_GROUP * ROWS_PER_GROUP
        for first in range(0, whole, ROWS_PER_GROUP):
            self._write_group(waiting.slice(first, ROWS_PER_GROUP))
        rest = waiting.slice(whole)
        self._waiting = [rest.take(pa.array(np.arange(len(rest))))]
        self._waiting_rows = len(rest)

    def close(self) -> None:
        """Write what waits and finish; a file without rows still has its columns."""
        if self._waiting_rows or self._files == 0:
            self._write_group(pa.concat_tables([self._schema.empty_table(), *self._waiting]))
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> ParquetFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif self._writer is not None:
            self._writer.close()

    def _write_group(self, rows: pa.Table) -> None:
        is_full = self._rows_per_file is not None and self._rows_in_file >= self._rows_per_file
        if self._writer is not None and is_full:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            is_folder = self._rows_per_file is not None
            path = self._path / f"part-{self._files:05d}.parquet" if is_folder else self._path
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
            self._files += 1
            self._rows_in_file = 0
        self._writer.write_table(rows.cast(self._schema), row_group_size=ROWS_PER_GROUP)
        self._rows_in_file += len(rows)
