"""What a layout hands on: tables of a source, each a schema and a way to stream its rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from components.engines.readers.rejects import Rejects
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class SourceTable:
    """One table of a source.

    Args:
        name: The table's name.
        schema: Its columns; one that may not be null is marked so, and a row without it refused.
        read: Streams the accepted rows in the order of the files, and adds the others to the
            rejects it is given.
    """

    name: str
    schema: pa.Schema
    read: Callable[[Rejects], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class Options:
    """What a person may tell the general layouts.

    Args:
        types: Arrow type names by column, for columns that should not be inferred.
        key: Columns that name a row; a later row with the same values is refused.
        tolerance: The share of values that may be unfit for a type that is inferred.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    tolerance: float = 0.01


@dataclass(frozen=True)
class Layout:
    """How the files of a source are arranged.

    Args:
        wants: Tells by the path relative to the source whether this layout reads a file.
        expects: The files it reads, in words, for errors.
        tables: Opens the tables of the files, which are given by their relative paths.
    """

    wants: Callable[[str], bool]
    expects: str
    tables: Callable[[Mapping[str, Path], Options], tuple[SourceTable, ...]]


def name_tables(files: Mapping[str, Path]) -> dict[str, list[Path]]:
    """Name a table after each file, or after the folder of its parts.

    Args:
        files: The files by their paths relative to the source: ``X.csv``, ``X/part.parquet``.

    Returns:
        The files of each table, sorted. Other characters than letters, digits and ``_ . -`` become
        ``_``.

    Raises:
        UsageError: Two tables would have one name.

    Example:
        >>> {name: len(paths) for name, paths in name_tables({"my clicks.csv": Path("x")}).items()}
        {'my_clicks': 1}
    """
    origins: dict[str, str] = {}
    tables: dict[str, list[Path]] = {}
    for name, path in sorted(files.items()):
        origin = name.rpartition("/")[0] or name
        stem = origin if "/" in name else Path(name).stem
        table = re.sub(r"[^A-Za-z0-9_.\-]", "_", stem).lstrip("_.-") or "table"
        if origins.setdefault(table, origin) != origin:
            raise UsageError(
                f"Two tables of the source would be called '{table}'.",
                where=path.parent,
                expected="names that differ in letters or digits",
                received=f"{origins[table]}, {origin}",
            )
        tables.setdefault(table, []).append(path)
    return tables
