"""Artifacts of rows: named Arrow tables, written and read in bounded memory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from learnloop.artifacts.base import Artifact
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_ROWS = 262_144
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


class _Tables(Artifact):
    """Named Arrow tables, one Parquet file each, digested by their rows while they are written."""

    _noun: ClassVar[str]

    def write(
        self,
        name: str,
        data: pa.Table | Iterable[pa.RecordBatch],
        schema: pa.Schema | None = None,
    ) -> int:
        """Write one table, streaming.

        Args:
            name: The table's name: letters, digits, ``_ . -``.
            data: A table, or record batches of one schema, of any number.
            schema: The schema; needed only where ``data`` may hold no batch.

        Returns:
            The number of rows written.

        Raises:
            UsageError: The name is unfit or taken, or there is neither a batch nor a schema.
        """
        import pyarrow as pa
        import pyarrow.parquet as parquet

        from learnloop.rows import RowDigest

        self._require_writable()
        if not _NAME.fullmatch(name) or name in self.names:
            raise UsageError(
                f"A {self._noun} needs a name of its own.",
                where=self.path.name,
                expected="letters, digits, '_', '.' or '-', not used before",
                received=repr(name),
            )
        if isinstance(data, pa.Table):
            schema, batches = data.schema, iter(data.to_batches(ROW_GROUP_ROWS))
        else:
            batches = iter(data)
            if schema is None:
                first = next(batches, None)
                if first is None:
                    raise UsageError(f"A {self._noun} without rows needs a schema.", where=name)
                schema, batches = first.schema, _chain(first, batches)
        digest = RowDigest()
        digest.start(schema)
        dictionaries = [f.name for f in schema if pa.types.is_string(f.type)]
        rows = 0
        with parquet.ParquetWriter(
            self.file(name), schema, compression="lz4", use_dictionary=dictionaries
        ) as writer:
            for group in _row_groups(batches, schema):
                digest.update(group)
                writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
                rows += group.num_rows
        digests = {**self._metadata.get("digests", {}), name: digest.hexdigest()}
        self._metadata["rows"] = {**self._metadata.get("rows", {}), name: rows}
        self._metadata["digests"] = digests
        self.set_content_digest(
            hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
        )
        return rows

    @property
    def names(self) -> tuple[str, ...]:
        """The tables' names, in the order they were written."""
        return tuple(self._metadata.get("rows", {}))

    @property
    def counts(self) -> dict[str, int]:
        """Rows by table name."""
        return dict(self._metadata.get("rows", {}))

    def file(self, name: str) -> Path:
        """The Parquet file of a table."""
        return self.path / f"{name}.parquet"

    def schema(self, name: str) -> pa.Schema:
        """The columns of a table, without reading its rows.

        Args:
            name: The table's name.

        Raises:
            UsageError: There is no such table.
        """
        import pyarrow.parquet as parquet

        return parquet.read_schema(self._existing(name))

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Read one whole table.

        Args:
            name: The table's name.
            columns: The columns wanted, in this order; all when None.

        Returns:
            The rows, in the order they were written.

        Raises:
            UsageError: There is no such table.
        """
        import pyarrow.parquet as parquet

        return parquet.read_table(self._existing(name), columns=columns)

    def batches(
        self, name: str, rows: int = 65_536, columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read one table in bounded memory.

        Args:
            name: The table's name.
            rows: The most rows in a batch.
            columns: The columns wanted; all when None.

        Yields:
            Record batches in the order of the rows.

        Raises:
            UsageError: There is no such table.
        """
        import pyarrow.parquet as parquet

        with parquet.ParquetFile(self._existing(name)) as file:
            yield from file.iter_batches(batch_size=rows, columns=columns)

    def _existing(self, name: str) -> Path:
        if name not in self.names:
            raise UsageError(
                f"There is no {self._noun} '{name}'.",
                where=self.path.name,
                expected=closest(name, self.names),
                received=repr(name),
            )
        return self.file(name)


class Records(_Tables):
    """Raw tables as they came in, by name."""

    summary = "Raw tables as they came in (Parquet)."
    _noun = "table"


class Examples(_Tables):
    """Rows to learn from or to judge by, by split (``train``, ``validation``, ``test``)."""

    summary = "Rows by split (Parquet)."
    _noun = "split"


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _row_groups(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Gather small batches, so that a file does not end up with thousands of tiny row groups."""
    import pyarrow as pa

    gathered: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        gathered.append(batch)
        rows += batch.num_rows
        if rows >= ROW_GROUP_ROWS:
            yield pa.Table.from_batches(gathered, schema)
            gathered, rows = [], 0
    if gathered:
        yield pa.Table.from_batches(gathered, schema)
