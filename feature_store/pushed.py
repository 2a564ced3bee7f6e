"""Rows that were pushed, kept as Parquet parts beside a source's own files.

Which parts count is written in a manifest, a small SQLite file: a part is there for readers from
the moment that the manifest names it. So a push is one transaction (the part and the identities of
its rows: each row is kept once, however often it is pushed), compaction replaces many parts by one
at one moment, and whatever a kill leaves behind is a file that nobody reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.errors import LearnLoopError

if TYPE_CHECKING:
    import pyarrow as pa

PLACE = "_pushed"
"""The folder of the parts: its name begins so that nobody takes its files for the source's own."""

MANIFEST = "manifest.db"
WAIT_SECONDS = 60
PART_ROWS = 1_000_000
"""A part of so many rows is not put together with others any more."""

SETUP = (
    "CREATE TABLE IF NOT EXISTS parts (name TEXT PRIMARY KEY, place INTEGER, rows INTEGER)",
    "CREATE TABLE IF NOT EXISTS identities (identity BLOB PRIMARY KEY) WITHOUT ROWID",
)


def live_parts(folder: Path) -> list[tuple[str, Path]]:
    """List the parts of pushed rows.

    Args:
        folder: The folder of the source.

    Returns:
        Name and path of each part, in the order in which they were pushed.
    """
    manifest = folder / PLACE / MANIFEST
    if not manifest.exists():
        return []
    with contextlib.closing(_connect(manifest)) as connection:
        parts = connection.execute("SELECT name FROM parts ORDER BY place").fetchall()
    return [(f"{PLACE}/{name}", folder / PLACE / name) for (name,) in parts]


class PushedParts:
    """The parts of pushed rows of one source.

    Args:
        folder: The folder of the source; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / PLACE
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(_connect(self.folder / MANIFEST)) as connection:
            for statement in SETUP:
                connection.execute(statement)

    def append(self, rows: pa.Table, identities: Sequence[bytes]) -> int:
        """Keep rows, each of them once.

        Args:
            rows: The rows, of which those pushed before are left out.
            identities: What tells each row from any other.

        Returns:
            How many rows were new. They are on disk when this returns.
        """
        import pyarrow as pa

        with self._changing() as connection:
            statement = "INSERT OR IGNORE INTO identities VALUES (?)"
            new = [connection.execute(statement, (one,)).rowcount == 1 for one in identities]
            fresh = rows.filter(pa.array(new, pa.bool_()))
            if len(fresh):
                name = self._write([fresh])
                connection.execute(
                    "INSERT INTO parts SELECT ?, coalesce(max(place), 0) + 1, ? FROM parts",
                    (name, len(fresh)),
                )
        return len(fresh)

    def compact(self) -> int:
        """Put small parts together, and remove files that nobody reads.

        Parts are put together with their neighbours of the same columns, so the order of the rows
        stays. Rows may be pushed meanwhile.

        Returns:
            How many parts were replaced.
        """
        replaced = 0
        with self._alone():
            self._remove_leftovers()
            for group, place, rows in self._groups():
                merged = self._write(self._tables(group))
                with self._changing() as connection:
                    self._drop(connection, group)
                    connection.execute("INSERT INTO parts VALUES (?, ?, ?)", (merged, place, rows))
                self._unlink(group)
                replaced += len(group)
        return replaced

    def remove(self, column: str, choose: Callable[[pa.Table], pa.Array | pa.ChunkedArray]) -> int:
        """Remove rows, by writing the parts that have them again.

        Args:
            column: A column without which a part has none of them.
            choose: Tells of a part's rows which are to go; null is no.

        Returns:
            How many rows were removed.
        """
        import pyarrow.compute as pc
        from pyarrow import parquet

        removed = 0
        with self._alone():
            self._remove_leftovers()
            with self._changing() as connection:
                old = []
                parts = connection.execute("SELECT name, rows FROM parts").fetchall()
                for name, rows in parts:
                    table = parquet.read_table(self.folder / name)
                    if column not in table.column_names:
                        continue
                    left = table.filter(pc.invert(pc.fill_null(choose(table), False)))
                    if len(left) == rows:
                        continue
                    removed += rows - len(left)
                    old.append(name)
                    if len(left):
                        connection.execute(
                            "UPDATE parts SET name = ?, rows = ? WHERE name = ?",
                            (self._write([left]), len(left), name),
                        )
                    else:
                        self._drop(connection, [name])
            self._unlink(old)
        return removed

    def _groups(self) -> Iterator[tuple[list[str], int, int]]:
        """Find small neighbours of the same columns, two at least, with their place and rows."""
        from pyarrow import parquet

        with contextlib.closing(_connect(self.folder / MANIFEST)) as connection:
            parts = connection.execute("SELECT name, place, rows FROM parts ORDER BY place")
            found = [(*part, parquet.read_schema(self.folder / part[0])) for part in parts]
        while found:
            (first, place, total, columns), *found = found
            group = [first]
            while found and found[0][3] == columns and total + found[0][2] <= PART_ROWS:
                name, _, rows, _ = found.pop(0)
                group.append(name)
                total += rows
            if len(group) > 1:
                yield group, place, total

    def _tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        from pyarrow import parquet

        for name in names:
            yield parquet.read_table(self.folder / name)

    def _write(self, tables: Sequence[pa.Table] | Iterator[pa.Table]) -> str:
        """Write a part that nobody reads yet, to the disk itself."""
        from pyarrow import parquet

        name = f"{uuid.uuid4().hex}.parquet"
        with (self.folder / name).open("wb") as handle, contextlib.ExitStack() as stack:
            writer = None
            for table in tables:
                if writer is None:
                    writer = stack.enter_context(parquet.ParquetWriter(handle, table.schema))
                writer.write_table(table)
            stack.close()
            handle.flush()
            os.fsync(handle.fileno())
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return name

    @staticmethod
    def _drop(connection: sqlite3.Connection, names: Sequence[str]) -> None:
        connection.executemany("DELETE FROM parts WHERE name = ?", [(name,) for name in names])

    def _unlink(self, names: Sequence[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove what the manifest does not name; whoever pushes holds the manifest meanwhile."""
        with self._changing() as connection:
            parts = {name for (name,) in connection.execute("SELECT name FROM parts")}
            self._unlink([f.name for f in self.folder.glob("*.parquet") if f.name not in parts])

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Change the manifest in one transaction, one after the other."""
        manifest = self.folder / MANIFEST
        try:
            with contextlib.closing(_connect(manifest)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as fault:
            raise LearnLoopError(
                "Pushed rows cannot be kept.",
                where=manifest,
                received=f"{type(fault).__name__}: {fault}",
            ) from fault

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only one who replaces parts."""
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _connect(manifest: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(manifest, timeout=WAIT_SECONDS, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
