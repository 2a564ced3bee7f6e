"""Sources: where the bytes of a data set lie, and what they are now.

A source is a local path, ``s3://bucket/prefix`` or, for the layout ``sql``, the name of a
connection. A connection's URL, which may hold a password, is read from the environment variable
``LEARNLOOP_CONNECTION_<NAME>``; a parameter never holds one.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from components.engines.readers import s3, sql
from components.engines.readers.csv_layout import CSV
from components.engines.readers.events import EVENTS
from components.engines.readers.knowledge_tracing import KNOWLEDGE_TRACING
from components.engines.readers.oulad import OULAD
from components.engines.readers.parquet_layout import PARQUET
from components.engines.readers.tables import Layout, Options, SourceTable
from learnloop.artifacts import digest_file
from learnloop.errors import UsageError, closest
from learnloop.settings import project_root

FILE_LAYOUTS: Mapping[str, Layout] = {
    "csv": CSV,
    "events": EVENTS,
    "knowledge_tracing": KNOWLEDGE_TRACING,
    "oulad": OULAD,
    "parquet": PARQUET,
}

LAYOUTS = tuple(sorted((*FILE_LAYOUTS, "sql")))
"""The names of all layouts."""


def open_source(
    source: str, layout: str, *, scratch: Path, options: Options = Options()
) -> tuple[SourceTable, ...]:
    """Open a source: its tables, with their columns, ready to be streamed once.

    Args:
        source: A path (relative ones are relative to the project's root), ``s3://bucket/prefix``,
            or for ``sql`` a connection's name, optionally with ``#table,table``.
        layout: One of :data:`LAYOUTS`.
        scratch: A folder for what is downloaded; a download goes on where a killed one stopped.
        options: Types and key for the layouts that do not know them.

    Returns:
        The tables.

    Raises:
        UsageError: There is no such layout, source, file or column.
    """
    sql.refuse_password(source)
    if layout == "sql":
        return sql.tables(source, options)
    chosen = _layout(layout)
    if s3.is_uri(source):
        objects = [item for item in s3.list_objects(source) if chosen.wants(item.name)]
        _require(objects, source, layout, chosen)
        return chosen.tables(s3.download(source, objects, scratch / "source"), options)
    return chosen.tables(_local_files(source, layout, chosen), options)


def digest_source(source: str, layout: str) -> dict[str, Any]:
    """Tell what a source holds now; two equal answers mean equal data.

    Args:
        source: As for :func:`open_source`.
        layout: One of :data:`LAYOUTS`.

    Returns:
        For files, the SHA-256 (on S3 the ETag and size) of each file that the layout reads. A
        database has no digest: the answer differs at every call, and says so.

    Raises:
        UsageError: There is no such layout or source.
    """
    sql.refuse_password(source)
    if layout == "sql":
        sql.connection_url(source)
        return {"undigested": "a database is read anew at every run", "token": uuid.uuid4().hex}
    chosen = _layout(layout)
    if s3.is_uri(source):
        objects = [item for item in s3.list_objects(source) if chosen.wants(item.name)]
        _require(objects, source, layout, chosen)
        return {"files": {item.name: f"{item.etag} {item.size}" for item in objects}}
    files = _local_files(source, layout, chosen)
    with ThreadPoolExecutor(2) as pool:
        digests = pool.map(digest_file, files.values())
        return {"files": dict(zip(files, digests, strict=True))}


def _layout(name: str) -> Layout:
    if name not in FILE_LAYOUTS:
        raise UsageError(
            f"There is no layout '{name}'.",
            where="parameter 'layout'",
            expected=closest(name, LAYOUTS),
            received=repr(name),
        )
    return FILE_LAYOUTS[name]


def _local_files(source: str, layout: str, chosen: Layout) -> dict[str, Path]:
    """Find the files that a layout reads, by their paths relative to the source."""
    place = project_root() / Path(source).expanduser()
    if place.is_file():
        found = {place.name: place}
    elif place.is_dir():
        found = {
            path.relative_to(place).as_posix(): path
            for pattern in ("*", "*/*", "*/*/*")
            for path in place.glob(pattern)
            if path.is_file()
        }
    else:
        raise UsageError(
            "There is no such source.",
            where=place,
            expected=chosen.expects,
            received="nothing at this path",
            next="check the path, or make data with: learnloop simulate",
        )
    files = {name: found[name] for name in sorted(found) if chosen.wants(name)}
    _require(files, str(place), layout, chosen)
    return files


def _require(files: object, source: str, layout: str, chosen: Layout) -> None:
    if not files:
        raise UsageError(
            f"The source has no file of the layout '{layout}'.",
            where=source,
            expected=chosen.expects,
            received="none of these",
            next="choose another layout: " + ", ".join(LAYOUTS),
        )
