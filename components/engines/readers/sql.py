"""Layout ``sql``: tables of a database, streamed through SQLAlchemy.

The source is the name of a connection, whose URL ``LEARNLOOP_CONNECTION_<NAME>`` holds, and perhaps
the tables wanted: ``platform#attempts,learners``. A URL without a password (SQLite, or one with
trust or a password file) may be given itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.readers.keys import SeenKeys
from components.engines.readers.rejects import Rejects
from components.engines.readers.tables import Options, SourceTable
from components.engines.readers.unfit_rows import refuse_missing, refuse_repeats
from learnloop.errors import LearnLoopError, UsageError, closest
from learnloop.settings import connection

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import sqlalchemy
    from numpy.typing import NDArray

BATCH_ROWS = 65_536
_PASSWORD = re.compile(r"://[^@]*:[^@]*@|[?&](password|pwd)=", re.IGNORECASE)


def refuse_password(source: str) -> None:
    """Refuse a source that is a URL with a password in it.

    Args:
        source: What was given as the source.

    Raises:
        UsageError: It holds a password; the message does not.
    """
    if _PASSWORD.search(source):
        raise UsageError(
            "A source must not hold a password: parameters are recorded and shown.",
            where="parameter 'source'",
            expected="the name of a connection",
            received="a URL with a password in it",
            next="export LEARNLOOP_CONNECTION_PLATFORM=<the URL>, and give source=platform",
        )


def connection_url(source: str) -> str:
    """Find the URL of a source.

    Args:
        source: A connection's name or a URL without a password, perhaps with ``#tables``.

    Returns:
        The URL. It may hold a password: never log it.

    Raises:
        UsageError: It holds a password, or there is no such connection.
    """
    refuse_password(source)
    name = source.partition("#")[0]
    if "://" in name:
        return name
    return connection(name)


def tables(source: str, options: Options) -> tuple[SourceTable, ...]:
    """Open the tables of a database.

    Args:
        source: As for :func:`connection_url`; all tables where none is named.
        options: The key of the rows; types come from the database.

    Returns:
        The tables.

    Raises:
        UsageError: There is no such connection or table.
        LearnLoopError: The database does not answer.
    """
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    name, _, listed = source.partition("#")
    try:
        engine = sqlalchemy.create_engine(connection_url(source), poolclass=sqlalchemy.NullPool)
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise UsageError(
            "A connection's URL cannot be used.",
            where=f"connection '{name}'",
            expected="postgresql://… or sqlite:///…",
            received="another kind of URL",
        ) from None
    _require_file(engine, name)
    try:
        inspector = sqlalchemy.inspect(engine)
        there = sorted(inspector.get_table_names() + inspector.get_view_names())
        wanted = listed.split(",") if listed else there
        if not wanted:
            raise UsageError("The database has no tables.", where=f"connection '{name}'")
        for table in wanted:
            if table not in there:
                raise UsageError(
                    f"The database has no table '{table}'.",
                    where=f"connection '{name}'",
                    expected=closest(table, there),
                    received=repr(table),
                )
        metadata = sqlalchemy.MetaData()
        metadata.reflect(engine, only=wanted, views=True)
    except SQLAlchemyError as fault:
        raise _silent(name, fault) from None
    return tuple(_table(engine, metadata.tables[table], name, options) for table in wanted)


def _require_file(engine: sqlalchemy.Engine, name: str) -> None:
    """Refuse a SQLite file that is not there: opening it would make an empty one."""
    file = engine.url.database
    if engine.dialect.name == "sqlite" and file and not Path(file).is_file():
        raise UsageError(
            "There is no such database file.",
            where=f"connection '{name}'",
            expected="a SQLite file",
            received="nothing at its path",
        )


def _table(
    engine: sqlalchemy.Engine, table: sqlalchemy.Table, source: str, options: Options
) -> SourceTable:
    import pyarrow as pa

    names = [column.name for column in table.columns]
    key = options.key if set(options.key) <= set(names) else ()
    schema = pa.schema(
        [
            pa.field(column.name, _arrow_type(column.type), nullable=column.name not in key)
            for column in table.columns
        ]
    )
    return SourceTable(table.name, schema, partial(_read, engine, table, schema, key, source))


def _arrow_type(kind: Any) -> pa.DataType:
    """The Arrow type of a SQL column; what has no counterpart is read as text."""
    import pyarrow as pa
    import sqlalchemy

    types: tuple[tuple[Any, pa.DataType], ...] = (
        (sqlalchemy.Boolean, pa.bool_()),
        (sqlalchemy.Integer, pa.int64()),
        (sqlalchemy.Numeric, pa.float64()),
        (sqlalchemy.Float, pa.float64()),
        (sqlalchemy.DateTime, pa.timestamp("us", "UTC" if getattr(kind, "timezone", 0) else None)),
        (sqlalchemy.Date, pa.date32()),
    )
    return next((arrow for sql, arrow in types if isinstance(kind, sql)), pa.string())


def _read(
    engine: sqlalchemy.Engine,
    table: sqlalchemy.Table,
    schema: pa.Schema,
    key: tuple[str, ...],
    source: str,
    rejects: Rejects,
) -> Iterator[pa.RecordBatch]:
    numbered = _numbered(engine, table, schema, source, rejects)
    yield from refuse_repeats(numbered, key, SeenKeys(), rejects, table.name, source)


def _numbered(
    engine: sqlalchemy.Engine,
    table: sqlalchemy.Table,
    schema: pa.Schema,
    source: str,
    rejects: Rejects,
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    """Stream rows in the order of the primary key, so that equal tables give equal artifacts."""
    import numpy as np
    import pyarrow as pa
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    order = list(table.primary_key.columns) or list(table.columns)
    query = sqlalchemy.select(table).order_by(*order)
    number = 1
    try:
        with engine.connect().execution_options(
            stream_results=True, max_row_buffer=BATCH_ROWS
        ) as rows_of:
            for rows in rows_of.execute(query).partitions(BATCH_ROWS):
                columns = [
                    _column(values, field)
                    for values, field in zip(zip(*rows, strict=True), schema, strict=True)
                ]
                batch = pa.record_batch(columns, schema=schema)
                numbers = np.arange(number, number + len(rows))
                number += len(rows)
                yield refuse_missing(batch, numbers, table.name, source, rejects)
    except SQLAlchemyError as fault:
        raise _silent(source, fault) from None


def _column(values: tuple[Any, ...], field: pa.Field) -> pa.Array:
    """Turn one column's values into an Arrow array.

    SQLite does not hold a column to its type: text in a number column is an error here.
    """
    import pyarrow as pa

    if pa.types.is_string(field.type):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    try:
        if pa.types.is_floating(field.type):
            values = tuple(None if value is None else float(value) for value in values)
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError):
        raise UsageError(
            "A database column holds values of another type.",
            where=f"column '{field.name}'",
            expected=field.type,
            received="a value that does not fit",
        ) from None


def _silent(source: str, fault: Exception) -> LearnLoopError:
    """Say that the database failed, without its URL or its data."""
    return LearnLoopError(
        "The database cannot be read.",
        where=f"connection '{source}'",
        received=type(getattr(fault, "orig", None) or fault).__name__,
        next="check that the database runs, and the connection's URL",
    )
