"""Looking for somebody in every byte of a folder, and in what the bytes mean."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet


def places_naming(folder: Path, name: str) -> list[str]:
    """The files of a folder, hidden ones too, that name somebody, relative to it."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and _names(path, name))
    return [path.relative_to(folder).as_posix() for path in found]


def _names(path: Path, name: str) -> bool:
    content = path.read_bytes()
    if re.search(rb"(?<!\w)" + re.escape(name.encode()) + rb"(?!\w)", content):
        return True
    if content[:4] == b"PAR1":
        return any(name == text for text in _texts(parquet.read_table(path).to_pydict()))
    if content[:16] == b"SQLite format 3\0":
        return any(name in text for text in _cells(path))
    return False


def _texts(value: Any) -> Iterator[str]:
    """Every value in a nest of lists and dicts, as text; of a longer text its words too."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, bytes):
        yield from re.findall(r"\w+", value.decode(errors="replace"))
    else:
        yield str(value)
        yield from re.findall(r"\w+", str(value))


def _cells(path: Path) -> Iterator[str]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield " ".join(_texts(row)).join("  ")
