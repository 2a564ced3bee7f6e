"""Layout ``csv``: one CSV file, or a folder of them; each file is a table named after it.

Types are inferred from a sample taken over the whole file; a person may state them instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.engines.readers.casting import infer_type, type_by_name
from components.engines.readers.csv_file import CsvFile, Header, read_header
from components.engines.readers.csv_records import Block, separate
from components.engines.readers.keys import SeenKeys
from components.engines.readers.rejects import Rejects
from components.engines.readers.tables import Layout, Options, SourceTable, name_tables
from components.engines.readers.unfit_rows import refuse_repeats
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_BYTES = 1 << 16
SAMPLE_PLACES = 8


def _tables(files: Mapping[str, Path], options: Options) -> tuple[SourceTable, ...]:
    paths = {table: path for table, (path,) in name_tables(files).items()}
    headers = {table: read_header(path) for table, path in paths.items()}
    known = {name for header in headers.values() for name in header.columns}
    for name in (*options.types, *options.key):
        if name not in known:
            raise UsageError(
                f"No CSV file has a column '{name}'.",
                where="parameter 'types' or 'key'",
                expected=closest(name, known),
                received=repr(name),
            )
    return tuple(_table(table, paths[table], headers[table], options) for table in sorted(paths))


CSV = Layout(
    wants=lambda name: name.endswith(".csv") and "/" not in name,
    expects="*.csv",
    tables=_tables,
)


def _table(table: str, path: Path, header: Header, options: Options) -> SourceTable:
    import pyarrow as pa

    as_text = pa.schema([pa.field(name, pa.string()) for name in header.columns])
    file = _typed(CsvFile(path, table, header, as_text), options)
    key = options.key if set(options.key) <= set(header.columns) else ()
    return SourceTable(table, file.schema, partial(read_file, file, key, SeenKeys()))


def read_file(
    file: CsvFile, key: tuple[str, ...], seen: SeenKeys, rejects: Rejects
) -> Iterator[pa.RecordBatch]:
    """Stream one CSV file, refusing rows that do not fit and rows that repeat a key.

    Args:
        file: The file with its types.
        key: The columns that name a row.
        seen: The keys met so far.
        rejects: Takes what is refused.

    Yields:
        The accepted rows.
    """
    batches = file.batches(rejects)
    yield from refuse_repeats(batches, key, seen, rejects, file.table, file.path.name)


def _typed(file: CsvFile, options: Options) -> CsvFile:
    """Give a file's columns the types that were stated, or that a sample of its rows shows."""
    import pyarrow as pa

    sample = _sample(file)
    fields = []
    for name, texts in zip(file.schema.names, sample.columns, strict=True):
        stated = options.types.get(name)
        kind = type_by_name(stated) if stated else infer_type(texts, options.tolerance)
        fields.append(pa.field(name, kind, nullable=name not in options.key))
    return replace(file, schema=pa.schema(fields))


def _sample(file: CsvFile) -> pa.RecordBatch:
    """Take well-formed rows, as text, from places spread evenly over the file."""
    size = file.path.stat().st_size
    count = len(file.header.columns)
    records: list[bytes] = []
    with file.path.open("rb") as handle:
        for place in range(SAMPLE_PLACES):
            start = max(file.header.size, size * place // SAMPLE_PLACES)
            handle.seek(start)
            if start > file.header.size:
                handle.readline()
            data = handle.read(SAMPLE_BYTES)
            whole = data[: data.rfind(b"\n") + 1] or data + b"\n"
            records += separate(Block(whole, 0, is_last=True), count).records
            if size <= SAMPLE_BYTES:
                break
    return file.parse_text(records)
