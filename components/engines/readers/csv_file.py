"""One CSV file as a stream of typed record batches, each row knowing its line.

A block that :func:`~components.engines.readers.csv_records.is_plain` is parsed whole by Arrow. One
that is not, or whose rows or values do not all fit, is cut into small pieces, so that only the
troubled piece is walked record by record and cast with care. Both ways give the same rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from components.engines.readers.casting import cast_column, misfit_reason
from components.engines.readers.csv_records import (
    LONGEST_LINE,
    Block,
    is_plain,
    separate,
)
from components.engines.readers.rejects import Reject, Rejects
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

BLOCK_BYTES = 8 << 20
PIECE_BYTES = 1 << 18
PARSE_BYTES = 2 * LONGEST_LINE
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

NumberedBatch = tuple["pa.RecordBatch", "NDArray[np.int64]"]
"""Rows and, for each of them, the 1-based line on which it starts (int64)."""


@dataclass(frozen=True)
class Header:
    """The first record of a CSV file.

    Args:
        columns: The names, in the file's order.
        size: Bytes before the first row.
        lines: Lines before the first row.
    """

    columns: tuple[str, ...]
    size: int
    lines: int


def read_header(path: Path) -> Header:
    """Read the names of a CSV file's columns.

    Args:
        path: The file.

    Raises:
        UsageError: The file is missing or empty, or its first line is not a header in UTF-8 with a
            name of its own for each column.
    """
    if not path.is_file():
        raise UsageError("A file is missing.", where=path, expected="a CSV file")
    with path.open("rb") as file:
        start = file.read(LONGEST_LINE)
    if not start.strip(b"\r\n" + BYTE_ORDER_MARK):
        raise UsageError(
            "A CSV file is empty.", where=path, expected="a header line", received="no text"
        )
    mark = len(BYTE_ORDER_MARK) if start.startswith(BYTE_ORDER_MARK) else 0
    line, newline, _ = start[mark:].partition(b"\n")
    columns = _header_columns(path, line.removesuffix(b"\r"))
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated or "" in columns:
        raise UsageError(
            "The columns of a CSV file need names of their own.",
            where=f"{path}, line 1",
            expected="a different name for each column",
            received=", ".join(repeated) + " more than once" if repeated else "an empty name",
        )
    return Header(columns, mark + len(line) + len(newline), 1)


def _header_columns(path: Path, line: bytes) -> tuple[str, ...]:
    if b"\0" in line or b"\r" in line or len(line) >= LONGEST_LINE - len(BYTE_ORDER_MARK):
        raise UsageError(
            "A CSV file does not begin with a header.",
            where=f"{path}, line 1",
            expected="the names of the columns, in UTF-8, lines ended by LF or CRLF",
            received="NUL bytes, or lines ended in another way",
            next="save the file as UTF-8 text with Unix or Windows line ends",
        )
    try:
        return tuple(next(csv.reader([line.decode()], strict=True)))
    except (UnicodeDecodeError, csv.Error) as fault:
        raise UsageError(
            "The header of a CSV file cannot be read.",
            where=f"{path}, line 1",
            expected="the names of the columns, in UTF-8",
            received="another encoding" if isinstance(fault, UnicodeDecodeError) else fault,
            next="save the file as UTF-8 text",
        ) from None


@dataclass(frozen=True)
class CsvFile:
    """A CSV file with the types that its columns shall have.

    Args:
        path: The file.
        table: The table its rows belong to.
        header: Its header.
        schema: The columns wanted, by name, in any order; columns beside them are left out. In a
            column that is not nullable a row without a value is refused.
        nulls: Texts that mean no value.
    """

    path: Path
    table: str
    header: Header
    schema: pa.Schema
    nulls: tuple[str, ...] = ("",)

    def batches(self, rejects: Rejects) -> Iterator[NumberedBatch]:
        """Stream the rows in order.

        Args:
            rejects: Takes the rows that do not fit.

        Yields:
            Rows with their lines.
        """
        with self.path.open("rb") as file:
            file.seek(self.header.size)
            yield from self._stream(file, self.header.lines + 1, BLOCK_BYTES, True, rejects)

    def _stream(
        self, file: BinaryIO, line: int, size: int, ends: bool, rejects: Rejects
    ) -> Generator[NumberedBatch, None, bytes]:
        """Read block after block; returns the bytes of a record that goes on after the last.

        A line beyond the bound is shortened to what shows that it is too long.
        """
        pending = b""
        while True:
            data = file.read(size)
            is_last = len(data) < size
            whole = pending + data
            if is_last and not whole:
                return b""
            if is_last and not whole.endswith(b"\n"):
                whole += b"\n"
            end = whole.rfind(b"\n") + 1
            if not end:
                pending = whole[: LONGEST_LINE + 1]
                continue
            block = Block(whole[:end], line, is_last and ends)
            rest = yield from self._read(block, size, rejects)
            if is_last:
                return rest
            line += whole.count(b"\n", 0, end - len(rest))
            pending = rest + whole[end:]

    def _read(
        self, block: Block, size: int, rejects: Rejects
    ) -> Generator[NumberedBatch, None, bytes]:
        """Read one block the quick way; if it will not go, in small pieces, then with care."""
        batch = self._parse_plain(block.data)
        if batch is not None:
            import numpy as np

            yield batch, np.arange(block.line, block.line + batch.num_rows)
            return b""
        if size > PIECE_BYTES and len(block.data) > PIECE_BYTES:
            pieces = io.BytesIO(block.data)
            rest = yield from self._stream(pieces, block.line, PIECE_BYTES, block.is_last, rejects)
            return rest
        separated = separate(block, len(self.header.columns))
        rejected = separated.rejects
        if separated.lines:
            batch, lines, misfits = self._cast(separated.records, separated.lines)
            rejected = sorted(rejected + misfits)
            if batch.num_rows:
                yield batch, lines
        rejects.add(self.table, self.path.name, rejected)
        return separated.rest

    def _parse_plain(self, data: bytes) -> pa.RecordBatch | None:
        """Parse lines that are all one good record each; None if they are not."""
        import pyarrow as pa

        if not is_plain(data):
            return None
        try:
            batch = self._parse(data, self.schema, PARSE_BYTES)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        is_whole = batch.num_rows == data.count(b"\n")
        return batch if is_whole and not _lacks(batch, self.schema) else None

    def _cast(
        self, records: list[bytes], lines: list[int]
    ) -> tuple[pa.RecordBatch, NDArray[np.int64], list[Reject]]:
        """Cast well-formed records column by column, telling the rows that do not fit."""
        import numpy as np
        import pyarrow as pa

        texts = self.parse_text(records)
        numbers = np.array(lines, np.int64)
        reasons: dict[int, str] = {}
        columns = []
        for field, column in zip(self.schema, texts.columns, strict=True):
            values, is_misfit = cast_column(column, field.type)
            for row in np.flatnonzero(is_misfit):
                reasons.setdefault(int(row), misfit_reason(field.name, field.type))
            if not field.nullable:
                is_null = column.is_null().to_numpy(zero_copy_only=False)
                for row in np.flatnonzero(is_null):
                    reasons.setdefault(int(row), f"column '{field.name}' has no value")
            columns.append(values)
        batch = pa.record_batch(columns, schema=self.schema)
        if not reasons:
            return batch, numbers, []
        fits = np.ones(len(lines), bool)
        fits[list(reasons)] = False
        misfits = [
            Reject(lines[row], reason, records[row].decode().rstrip("\r\n"))
            for row, reason in reasons.items()
        ]
        return batch.filter(pa.array(fits)), numbers[fits], misfits

    def parse_text(self, records: list[bytes]) -> pa.RecordBatch:
        """Parse well-formed records, every column as text.

        Args:
            records: The records, each ending in a newline.

        Returns:
            The wanted columns as strings, null where there is no value.
        """
        import pyarrow as pa

        as_text = pa.schema([pa.field(name, pa.string()) for name in self.schema.names])
        if not records:
            return pa.record_batch([pa.array([], pa.string())] * len(as_text), schema=as_text)
        data = b"".join(records)
        return self._parse(data, as_text, len(data) + 1)

    def _parse(self, data: bytes, schema: pa.Schema, share: int) -> pa.RecordBatch:
        """Parse records with Arrow, refusing none.

        Each thread takes a share of the bytes; records with line breaks in them must not be shared.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            arrow_csv.ReadOptions(column_names=self.header.columns, block_size=share),
            arrow_csv.ParseOptions(newlines_in_values=share > len(data)),
            arrow_csv.ConvertOptions(
                column_types=schema,
                include_columns=schema.names,
                null_values=list(self.nulls),
                strings_can_be_null=True,
                true_values=["true", "True", "TRUE", "1"],
                false_values=["false", "False", "FALSE", "0"],
            ),
        )
        columns = [column.combine_chunks() for column in table.columns]
        return pa.record_batch(columns, schema=schema)


def _lacks(batch: pa.RecordBatch, schema: pa.Schema) -> bool:
    """Tell whether a value is missing where none may be."""
    return any(
        column.null_count and not field.nullable
        for field, column in zip(schema, batch.columns, strict=True)
    )
