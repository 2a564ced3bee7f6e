"""Removing a person's rows from the Parquet files of a source, one file after the other.

A file is replaced as a whole (:mod:`learnloop.erasing`): a reader who began with the old one is
told (:class:`SourceChanged`).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from feature_store.fields import Field
from feature_store.offline.reading import SourceChanged, fits
from learnloop.erasing import FileChanged, open_rows
from learnloop.errors import UsageError


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
    with open_rows(path) as rows:
        columns = _columns(rows.schema, keys, path)
        try:
            return rows.erase(columns, partial(_is_theirs, columns=columns, value=value))
        except FileChanged:
            raise SourceChanged("A source changed while it was erased from.", where=path) from None


def _columns(schema: pa.Schema, keys: Collection[Field], path: Path) -> dict[str, pa.DataType]:
    """The columns of a file that are the key, under any name it ever had, and the key's type."""
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


def _is_theirs(group: pa.Table, columns: dict[str, pa.DataType], value: int | str) -> pa.Array:
    """Which rows have the value in one of the columns."""
    found = pa.array([False] * len(group))
    for name, dtype in columns.items():
        typed = pa.scalar(str(value) if pa.types.is_string(dtype) else int(value), dtype)
        is_equal = pc.fill_null(pc.equal(group[name].cast(dtype), typed), False)
        found = pc.or_(found, is_equal)
    return found
