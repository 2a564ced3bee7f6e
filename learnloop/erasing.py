"""Removing rows from Parquet files, one file after the other.

A file is written anew beside itself and takes its own place by a rename, so a reader sees the old
file or the new one, also after a kill. Whoever is killed begins again: files that are done have
nothing left to remove. A file that loses all its rows stays, empty: a reader that has listed it
still finds it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError
from learnloop.holding import hold_file

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

UNFINISHED = ".{}.erasing"
"""The name of a file that is being written anew; readers pass over names that begin with a dot."""


HOUR = timedelta(hours=1)
PATIENCE_SECONDS = 60.0
"""How long to wait for somebody else who removes rows."""


class FileChanged(LearnLoopError):
    """Somebody else replaced or removed a file while rows were removed from it."""


class ErasableRows:
    """The rows of one file; see :func:`open_rows`.

    Args:
        path: The file.
        handle: Open for reading.

    Raises:
        CorruptArtifact: The file is not Parquet.
    """

    def __init__(self, path: Path, handle: IO[bytes]) -> None:
        import pyarrow as pa
        import pyarrow_hotfix  # type: ignore[import-untyped]  # noqa: F401  # a file may bring code
        from pyarrow import parquet

        self.path = path
        self._identity = _identity(os.fstat(handle.fileno()))
        try:
            self._file: parquet.ParquetFile = parquet.ParquetFile(handle)
        except pa.ArrowInvalid:
            raise CorruptArtifact(
                "A file is not Parquet.", where=path, expected="a Parquet file"
            ) from None

    @property
    def schema(self) -> pa.Schema:
        """The file's columns."""
        return self._file.schema_arrow

    def erase(self, columns: Collection[str], choose: Callable[[pa.Table], pa.Array]) -> int:
        """Remove rows.

        Args:
            columns: What is looked at to choose.
            choose: Tells, of a table with at least these columns, which rows are to go; null is no.

        Returns:
            How many rows were removed; the file is on disk without them when this returns.

        Raises:
            FileChanged: Somebody else replaced or removed the file meanwhile: erase again.
        """
        import pyarrow.compute as pc

        if not columns:
            return 0
        chosen = (choose(group) for group in self._groups(list(columns)))
        erased = sum(pc.sum(pc.fill_null(one, False)).as_py() or 0 for one in chosen)
        if not erased:
            return 0
        unfinished = self.path.with_name(UNFINISHED.format(self.path.name))
        self._write_others(unfinished, choose)
        try:
            shutil.copymode(self.path, unfinished)
            is_same = _identity(self.path.stat()) == self._identity
        except FileNotFoundError:
            is_same = False
        if not is_same:
            unfinished.unlink()
            raise FileChanged("A file changed while it was erased from.", where=self.path)
        unfinished.replace(self.path)
        sync_folder(self.path.parent)
        return int(erased)

    def _groups(self, columns: list[str] | None) -> Iterator[pa.Table]:
        for number in range(self._file.num_row_groups):
            yield self._file.read_row_group(number, columns=columns)

    def _write_others(self, unfinished: Path, choose: Callable[[pa.Table], pa.Array]) -> None:
        import pyarrow.compute as pc
        from pyarrow import parquet

        compression = "snappy"
        if self._file.num_row_groups and self._file.metadata.num_columns:
            compression = self._file.metadata.row_group(0).column(0).compression
        with unfinished.open("wb") as handle:
            with parquet.ParquetWriter(
                handle,
                self.schema,
                compression="none" if compression == "UNCOMPRESSED" else compression,
                version="2.6",
            ) as writer:
                for group in self._groups(None):
                    is_theirs = pc.fill_null(choose(group), False)
                    writer.write_table(_without_unused(group.filter(pc.invert(is_theirs))))
            handle.flush()
            os.fsync(handle.fileno())


@contextmanager
def open_rows(path: Path) -> Iterator[ErasableRows]:
    """Open a Parquet file to remove rows from it.

    Args:
        path: The file.

    Yields:
        Its rows.

    Raises:
        CorruptArtifact: The file is not Parquet.
        FileNotFoundError: It is not there.
    """
    with path.open("rb") as handle:
        yield ErasableRows(path, handle)


def erase_owned(path: Path, owner: str, owners: Collection[str]) -> int:
    """Remove the rows of somebody from a file.

    Args:
        path: The file.
        owner: The column that says whose a row is; a file without it has nothing to remove.
        owners: Whose rows go.

    Returns:
        How many rows were removed.

    Raises:
        CorruptArtifact: The file is not Parquet.
        FileChanged: Somebody else replaced or removed it meanwhile: erase again.
    """
    with open_rows(path) as rows:
        columns = [owner] if owner in rows.schema.names else []
        return rows.erase(columns, lambda table: _is_of(table[owner], owners))


def expire_hour(
    path: Path, hour: datetime, before: datetime, *, time: str, owner: str, held: Collection[str]
) -> int:
    """Remove the rows of before a moment from a file that holds those of one hour.

    Args:
        path: The file; removed as a whole where the hour has passed and nobody's rows stay.
        hour: The hour's beginning, with a time zone.
        before: The moment, with a time zone.
        time: The column that says when a row was.
        owner: The column that says whose it is.
        held: Whose rows stay, however old.

    Returns:
        How many rows were removed.

    Raises:
        CorruptArtifact: The file is not Parquet.
        FileChanged: Somebody else replaced or removed it meanwhile: do it again.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    if hour >= before:
        return 0
    expired = 0
    if held or hour + HOUR > before:
        with open_rows(path) as rows:
            limit = pa.scalar(before, rows.schema.field(time).type)
            expired = rows.erase(
                [time, owner],
                lambda table: pc.and_not(pc.less(table[time], limit), _is_of(table[owner], held)),
            )
    left: int = parquet.read_metadata(path).num_rows
    if hour + HOUR <= before and not (held and left):
        path.unlink()
        return expired + left
    return expired


def _is_of(column: pa.ChunkedArray, owners: Collection[str]) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_in(column, pa.array(sorted(owners), column.type))


@contextmanager
def erasing_alone(folder: Path, lock: Path) -> Iterator[None]:
    """Be the only one who removes rows from a folder, for the length of a ``with`` block.

    What somebody left unfinished who was killed is removed first: it may have rows of anybody.

    Args:
        folder: The folder.
        lock: A file in it, whose folder is there.

    Raises:
        UsageError: Somebody else is erasing.
    """
    with hold_file(lock, PATIENCE_SECONDS) as is_held:
        if not is_held:
            raise UsageError("Somebody else is erasing.", where=folder, next="do it again later")
        for left in folder.rglob(UNFINISHED.format("*")):
            left.unlink()
        yield


def check_moment(before: datetime) -> None:
    """Refuse a moment that is not one.

    Args:
        before: The moment before which rows are too old.

    Raises:
        UsageError: It has no time zone.
    """
    if before.tzinfo is None:
        raise UsageError(
            "A moment without a time zone is not one moment.",
            where="before",
            expected="datetime(…, tzinfo=UTC)",
            received=before.isoformat(),
        )


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk itself.

    Args:
        folder: The folder.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _identity(status: os.stat_result) -> tuple[Any, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _without_unused(table: pa.Table) -> pa.Table:
    """Make dictionaries anew: they still have the values of rows that were left out."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if "dictionary" in str(field.type):  # also within lists and structs
            made = pa.array(table.column(place).to_pylist(), field.type)
            table = table.set_column(place, field, made)
    return table
