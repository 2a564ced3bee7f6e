"""Layout ``parquet``: one file, or a folder where ``X.parquet`` or ``X/*.parquet`` is table X."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.engines.readers.keys import SeenKeys
from components.engines.readers.rejects import Rejects
from components.engines.readers.tables import Layout, Options, SourceTable, name_tables
from components.engines.readers.unfit_rows import refuse_missing, refuse_repeats
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as parquet
    from numpy.typing import NDArray

BATCH_ROWS = 131_072


def _tables(files: Mapping[str, Path], options: Options) -> tuple[SourceTable, ...]:
    tables = []
    for table, paths in name_tables(files).items():
        with open_parquet(paths[0]) as file:
            schema = file.schema_arrow.remove_metadata()
        key = options.key if set(options.key) <= set(schema.names) else ()
        read = partial(read_parts, paths, schema, table, key)
        tables.append(SourceTable(table, schema, read))
    return tuple(tables)


PARQUET = Layout(
    wants=lambda name: name.endswith(".parquet") and name.count("/") <= 1,
    expects="*.parquet, or folders of them",
    tables=_tables,
)


def open_parquet(path: Path) -> parquet.ParquetFile:
    """Open a Parquet file that others wrote.

    Args:
        path: The file.

    Raises:
        UsageError: It is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet
    import pyarrow_hotfix  # type: ignore[import-untyped]  # noqa: F401  (refuses a type that runs code)

    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as fault:
        raise UsageError(
            "A file is not Parquet.", where=path, expected="a Parquet file", received=fault
        ) from None


def read_parts(
    paths: Sequence[Path], schema: pa.Schema, table: str, key: tuple[str, ...], rejects: Rejects
) -> Iterator[pa.RecordBatch]:
    """Stream the parts of a table, refusing rows without a value they need or with a repeated key.

    Args:
        paths: The files, in order.
        schema: The columns wanted; each part's are cast to it.
        table: The table's name.
        key: The columns that name a row.
        rejects: Takes what is refused; the line is the row's number in its file, from 1.

    Yields:
        The accepted rows.

    Raises:
        UsageError: A part lacks a column, or holds another type that will not be cast.
    """
    seen = SeenKeys()
    for path in paths:
        numbered = _numbered(path, schema, table, rejects)
        yield from refuse_repeats(numbered, key, seen, rejects, table, path.name)


def _numbered(
    path: Path, schema: pa.Schema, table: str, rejects: Rejects
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    import numpy as np
    import pyarrow as pa

    row = 1
    with open_parquet(path) as file:
        missing = [name for name in schema.names if name not in file.schema_arrow.names]
        if missing:
            raise UsageError(
                "A Parquet file lacks a column.",
                where=path,
                expected=", ".join(schema.names),
                received=", ".join(file.schema_arrow.names),
            )
        for batch in _batches(file, path, schema.names):
            numbers = np.arange(row, row + batch.num_rows)
            row += batch.num_rows
            try:
                columns = [batch.column(field.name).cast(field.type) for field in schema]
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise UsageError(
                    "A Parquet file's columns have other types than the table.",
                    where=path,
                    expected=", ".join(f"{field.name} {field.type}" for field in schema),
                    received=", ".join(f"{field.name} {field.type}" for field in batch.schema),
                ) from None
            yield refuse_missing(
                pa.record_batch(columns, schema=schema), numbers, table, path.name, rejects
            )


def _batches(file: parquet.ParquetFile, path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Read a file's rows, telling damage within it from other faults."""
    import pyarrow as pa

    try:
        yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns)
    except (pa.ArrowInvalid, OSError) as fault:
        raise UsageError(
            "A Parquet file is damaged.", where=path, expected="whole pages", received=fault
        ) from None
