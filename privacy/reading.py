"""Reading parts that others wrote: who is in them, and how many rows are older than a moment."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_store.offline.reading import is_visible
from feature_store.people import ListedPeople

if TYPE_CHECKING:
    import pyarrow as pa


def list_parts(folder: Path) -> list[Path]:
    """List the Parquet files below a folder that are there for readers.

    Args:
        folder: The folder; it need not be there.
    """
    found = ((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*.parquet"))
    return sorted(file for name, file in found if is_visible(name))


def distinct_values(file: Path, column: str) -> list[Any]:
    """List the values of a column, each once for each row group, without null.

    Args:
        file: A Parquet file.
        column: The column; a file without it has none.
    """
    import pyarrow.compute as pc

    groups = (pc.unique(table[column]).to_pylist() for table in read_groups(file, column))
    return [value for group in groups for value in group if value is not None]


def read_groups(file: Path, *columns: str) -> Iterator[pa.Table]:
    """Read a Parquet file, a row group at a time.

    Args:
        file: The file.
        columns: The columns wanted, all if none; of a file that lacks one nothing is read.

    Yields:
        Rows.
    """
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(file) as opened:
        if set(columns) <= set(opened.schema_arrow.names):
            for group in range(opened.num_row_groups):
                yield opened.read_row_group(group, columns=list(columns) or None)


def count_older(
    file: Path, before: datetime, *, time: str, owner: str, held: Collection[str]
) -> int:
    """Count rows from before a moment, but of people who are held.

    Args:
        file: A Parquet file.
        before: The moment.
        time: The column that says when a row was.
        owner: The column that says whose it is.
        held: Whose rows stay.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = 0
    for table in read_groups(file, time, owner):
        is_held = pc.is_in(table[owner], pa.array(sorted(held), table[owner].type))
        found += count_true(pc.and_(pc.less(table[time], before), pc.invert(is_held)))
    return found


def count_older_messages(file: Path, before: datetime, people: ListedPeople | None) -> int:
    """Count messages of a quarantine from before a moment that name nobody who is held.

    Args:
        file: A part of the quarantine of events.
        before: The moment.
        people: Who is held.
    """
    return sum(
        at < before and not (people and people.are_named_in(as_text(value)))
        for table in read_groups(file, "recorded_at", "value")
        for at, value in zip(
            table["recorded_at"].to_pylist(), table["value"].to_pylist(), strict=True
        )
    )


def as_text(value: bytes) -> str:
    """Read a message that may be anything."""
    return value.decode(errors="replace")


def count_true(chosen: pa.Array | pa.ChunkedArray) -> int:
    """Count the rows that are chosen; null is no."""
    import pyarrow.compute as pc

    return pc.sum(chosen).as_py() or 0
