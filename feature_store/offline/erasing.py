"""Removing rows from the Parquet files of a source, one file after the other.

A file is written anew beside itself and takes its own place by a rename, so a reader sees the old
file or the new one, and one who began with the old is told (:class:`SourceChanged`). Whoever is
killed begins again: files that are done have nothing left to remove.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow_hotfix  # type: ignore[import-untyped]  # noqa: F401  # a file may bring code
from pyarrow import parquet

from feature_store.fields import Field
from feature_store.offline.reading import SourceChanged, fits, identity_of
from learnloop.errors import CorruptArtifact, UsageError

UNFINISHED = ".{}.erasing"
"""The name of a file that is being written anew; readers pass over names that begin with a dot."""


def erase_from_file(path: Path, keys: Collection[Field], value: int | str) -> int:
    """Remove the rows of a file that have a value in a column.

    Args:
        path: The file.
        keys: The join key, as each view of the source defines it.
        value: The value.

    Returns:
        How many rows were removed; the file is on disk without them when this returns.

    Raises:
        CorruptArtifact: The file is not Parquet.
        UsageError: The column is not of the key's type.
        SourceChanged: Somebody else replaced the file meanwhile: erase again.
    """
    with path.open("rb") as handle:
        identity = identity_of(handle)
        try:
            file = parquet.ParquetFile(handle)
        except pa.ArrowInvalid:
            raise CorruptArtifact(
                "A file of a source is not Parquet.", where=path, expected="a Parquet file"
            ) from None
        columns = _columns(file, keys, path)
        erased = sum(
            pc.sum(_is_theirs(group, columns, value)).as_py() or 0
            for group in _groups(file, list(columns))
        )
        if not erased:
            return 0
        unfinished = path.with_name(UNFINISHED.format(path.name))
        _write_others(file, unfinished, columns, value)
        shutil.copymode(path, unfinished)
        with path.open("rb") as current:
            if identity_of(current) != identity:
                unfinished.unlink()
                raise SourceChanged("A source changed while it was erased from.", where=path)
        unfinished.replace(path)
    _sync_folder(path.parent)
    return int(erased)


def _columns(
    file: parquet.ParquetFile, keys: Collection[Field], path: Path
) -> dict[str, pa.DataType]:
    """The columns of a file that are the key, under any name it ever had, and the key's type."""
    schema = file.schema_arrow
    found = {}
    for key in keys:
        for name in (key.name, *key.formerly):
            if name not in schema.names:
                continue
            if not fits(schema.field(name).type, key.dtype):
                raise UsageError(
                    f"Column '{name}' is not of the key's type.",
                    where=path,
                    expected=str(key.dtype),
                    received=str(schema.field(name).type),
                )
            found[name] = key.dtype.arrow
    return found


def _groups(file: parquet.ParquetFile, columns: list[str] | None) -> Iterator[pa.Table]:
    """The row groups of a file; none where there is no column to look at."""
    if columns == []:
        return
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns=columns)


def _is_theirs(group: pa.Table, columns: dict[str, pa.DataType], value: int | str) -> pa.Array:
    """Which rows have the value in one of the columns."""
    found = pa.array([False] * len(group))
    for name, dtype in columns.items():
        typed = pa.scalar(str(value) if pa.types.is_string(dtype) else int(value), dtype)
        is_equal = pc.fill_null(pc.equal(group[name].cast(dtype), typed), False)
        found = pc.or_(found, is_equal)
    return found


def _write_others(
    file: parquet.ParquetFile, unfinished: Path, columns: dict[str, pa.DataType], value: int | str
) -> None:
    compression = "snappy"
    if file.num_row_groups and file.metadata.num_columns:
        compression = file.metadata.row_group(0).column(0).compression
    with unfinished.open("wb") as handle:
        with parquet.ParquetWriter(
            handle,
            file.schema_arrow,
            compression="none" if compression == "UNCOMPRESSED" else compression,
            version="2.6",
        ) as writer:
            for group in _groups(file, None):
                left = group.filter(pc.invert(_is_theirs(group, columns, value)))
                writer.write_table(_without_unused(left))
        handle.flush()
        os.fsync(handle.fileno())


def _without_unused(table: pa.Table) -> pa.Table:
    """Make dictionaries anew: they still have the values of rows that were left out."""
    for place, field in enumerate(table.schema):
        if "dictionary" in str(field.type):  # also within lists and structs
            made = pa.array(table.column(place).to_pylist(), field.type)
            table = table.set_column(place, field, made)
    return table


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
