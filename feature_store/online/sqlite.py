"""The online store in one SQLite file, which is the default.

In WAL mode readers see the last committed transaction and never wait for a writer. A
materialization gathers its rows in a temporary table first, so that the one transaction that makes
them visible is short and pushes hardly wait. What is deleted is overwritten in the file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from feature_store.online.keys import has_part
from feature_store.online.packing import STAMP_BYTES, RowSchema
from feature_store.online.store import (
    Materialization,
    OnlineStoreUnavailable,
    Row,
    ViewState,
    conflict,
    not_materialized,
    unknown_schema,
)
from learnloop.errors import LearnLoopError, UsageError

FORMAT = 1
WAIT_SECONDS = 30
MAX_KEYS = 4096
"""The most keys of one statement; SQLite takes 32,766 values."""

FEW_KEYS = 128
"""Up to so many keys each number of them has a statement of its own."""

SETUP = """
CREATE TABLE IF NOT EXISTS views (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS schemas (fingerprint BLOB PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows (
    view INTEGER, key BLOB, row BLOB NOT NULL, PRIMARY KEY (view, key)
) WITHOUT ROWID;
"""
READ_ONE = "SELECT row FROM rows WHERE view = ? AND key = ?"
KEEP_NEWEST = f"""
ON CONFLICT (view, key) DO UPDATE SET row = excluded.row
WHERE substr(excluded.row, 1, {STAMP_BYTES}) >= substr(rows.row, 1, {STAMP_BYTES})
    AND excluded.row <> rows.row
"""
PUSH = f"INSERT INTO rows VALUES (?, ?, ?) {KEEP_NEWEST}"  # noqa: S608
# Rows in the order of their keys are written a page after the other.
MERGE = f"INSERT INTO rows SELECT ?, key, row FROM staged WHERE true ORDER BY key {KEEP_NEWEST}"  # noqa: S608


class SqliteStore:
    """The online store in one SQLite file.

    Args:
        file: The database; made when it is first used.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.name = f"SQLite at {file}"
        self._local = threading.local()
        self._ids: dict[str, int] = {}

    def state(self, view: str) -> ViewState | None:
        """What the store knows of a view; None if it holds nothing of it."""
        with self._explained():
            found = self._state(self._connection(), view)
        return ViewState.from_json(found) if found else None

    def views(self) -> list[str]:
        """The views that the store holds something of, sorted."""
        with self._explained():
            found = self._connection().execute("SELECT name FROM views ORDER BY name")
            return [name for (name,) in found]

    def schema(self, fingerprint: bytes) -> RowSchema:
        """The schema that a row says it was packed with."""
        statement = "SELECT fields FROM schemas WHERE fingerprint = ?"
        with self._explained():
            found = self._connection().execute(statement, (fingerprint,)).fetchone()
        if found is None:
            raise unknown_schema(fingerprint, self.name)
        return RowSchema.from_json(found[0])

    def read(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """Read rows, all of them as they are at one moment."""
        try:
            connection = self._connection()
            if len(wanted) == 1 and len(wanted[0][1]) <= MAX_KEYS:
                ((view, keys),) = wanted
                # One statement sees one moment. Where no row is missing, the view is there too.
                known = self._ids.get(view)
                if known is not None:
                    rows = _rows(connection, known, keys)
                    if None not in rows or self._identity(connection, view) == known:
                        return [rows]
            with _transaction(connection, "BEGIN"):
                return [
                    _rows(connection, self._identity(connection, view), keys)
                    for view, keys in wanted
                ]
        except sqlite3.Error as fault:
            raise self._unavailable(fault) from fault

    def materialize(self, change: Materialization, batches: Iterable[Sequence[Row]]) -> int:
        """Add rows to a view and change its state, all at one moment."""
        given = 0
        with self._explained(), contextlib.closing(self._connect()) as connection:
            connection.execute("CREATE TEMP TABLE staged (key BLOB, row BLOB)")
            for batch in batches:
                with _transaction(connection, "BEGIN"):
                    connection.executemany("INSERT INTO staged VALUES (?, ?)", batch)
                given += len(batch)
            before = change.before.to_json() if change.before else None
            with _transaction(connection, "BEGIN IMMEDIATE"):
                if self._state(connection, change.view) != before:
                    raise conflict(change.view, self.name)
                self._keep_schema(connection, change.schema)
                connection.execute(
                    "INSERT INTO views (name, state) VALUES (?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET state = excluded.state",
                    (change.view, change.after.to_json()),
                )
                connection.execute(MERGE, (self._identity(connection, change.view),))
        return given

    def push(self, view: str, schema: RowSchema, rows: Sequence[Row]) -> None:
        """Add rows to a view, all at once."""
        with self._explained(), _transaction(self._connection(), "BEGIN IMMEDIATE") as connection:
            identity = self._identity(connection, view)
            self._keep_schema(connection, schema)
            connection.executemany(PUSH, [(identity, key, row) for key, row in rows])

    def erase(self, view: str, parts: Collection[bytes]) -> int:
        """Remove rows so that no byte of them stays, and refuse materializations under way."""
        with self._explained():
            connection = self._connection()
            wanted = frozenset(parts)
            connection.create_function("is_erased", 1, lambda key: has_part(key, wanted))
            with _transaction(connection, "BEGIN IMMEDIATE"):
                state = self._state(connection, view)
                if state is None:
                    return 0
                connection.execute(
                    "UPDATE views SET state = ? WHERE name = ?",
                    (ViewState.from_json(state).renewed().to_json(), view),
                )
                erased = connection.execute(
                    "DELETE FROM rows WHERE view = ? AND is_erased(key)",
                    (self._identity(connection, view),),
                ).rowcount
            self._forget_log(connection)
        return erased

    def drop(self, view: str) -> None:
        """Remove all that the store holds of a view."""
        with self._explained():
            connection = self._connection()
            with _transaction(connection, "BEGIN IMMEDIATE"):
                if self._state(connection, view) is None:
                    return
                identity = self._identity(connection, view)
                connection.execute("DELETE FROM rows WHERE view = ?", (identity,))
                connection.execute("DELETE FROM views WHERE id = ?", (identity,))
            self._forget_log(connection)

    def close(self) -> None:
        """Let go of this thread's connection; those of other threads end with them."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection; a process that was forked has connections of its own."""
        local = self._local
        if getattr(local, "process", None) != os.getpid():
            # SQLite wants a connection from before the fork neither used nor closed.
            local.inherited = getattr(local, "connection", None)
            local.connection = self._connect()
            local.process = os.getpid()
        connection: sqlite3.Connection = local.connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.file, timeout=WAIT_SECONDS, isolation_level=None, cached_statements=2 * FEW_KEYS
        )
        for setting in (
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "secure_delete = ON",
            "mmap_size = 4294967296",
            "journal_size_limit = 67108864",
        ):
            connection.execute(f"PRAGMA {setting}")
        (form,) = connection.execute("PRAGMA user_version").fetchone()
        if form == 0:
            with _transaction(connection, "BEGIN IMMEDIATE"):
                for statement in SETUP.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        elif form != FORMAT:
            connection.close()
            raise UsageError(
                "The online store was written by another version of LearnLoop.",
                where=self.file,
                expected=f"format {FORMAT}",
                received=f"format {form}",
                next="remove the file, then learnloop features materialize",
            )
        return connection

    def _identity(self, connection: sqlite3.Connection, view: str) -> int:
        """The number of a view, looked up each time: a view may be dropped and come back."""
        found = connection.execute("SELECT id FROM views WHERE name = ?", (view,)).fetchone()
        if found is None:
            self._ids.pop(view, None)
            raise not_materialized(view, self.name)
        self._ids[view] = found[0]
        return int(found[0])

    @staticmethod
    def _state(connection: sqlite3.Connection, view: str) -> str | None:
        found = connection.execute("SELECT state FROM views WHERE name = ?", (view,)).fetchone()
        return found[0] if found else None

    @staticmethod
    def _keep_schema(connection: sqlite3.Connection, schema: RowSchema) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO schemas VALUES (?, ?)", (schema.fingerprint, schema.to_json())
        )

    def _forget_log(self, connection: sqlite3.Connection) -> None:
        """Empty the log of writes, which still has the bytes of what was deleted."""
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise LearnLoopError(
                "The rows are erased, but the log of writes, which readers are using, still has "
                "their bytes.",
                where=f"{self.file}-wal",
                next="erase again",
            )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as fault:
            raise self._unavailable(fault) from fault

    def _unavailable(self, fault: sqlite3.Error) -> OnlineStoreUnavailable:
        return OnlineStoreUnavailable(
            "The online store does not answer.",
            where=self.file,
            received=f"{type(fault).__name__}: {fault}",
        )


def _rows(
    connection: sqlite3.Connection, identity: int, keys: Sequence[bytes]
) -> list[bytes | None]:
    if len(keys) == 1:
        found = connection.execute(READ_ONE, (identity, keys[0])).fetchone()
        return [found[0] if found else None]
    rows: list[bytes | None] = []
    for begin in range(0, len(keys), MAX_KEYS):
        chunk = keys[begin : begin + MAX_KEYS]
        # A statement for each small number of keys; for greater ones a few, filled with nulls.
        size = len(chunk) if len(chunk) <= FEW_KEYS else 1 << (len(chunk) - 1).bit_length()
        padded = (*chunk, *(None,) * (size - len(chunk)))
        found = connection.execute(_read_many(size), (*padded, identity)).fetchall()
        rows += [row for (row,) in found[: len(chunk)]]
    return rows


@cache
def _read_many(size: int) -> str:
    """A statement that reads as many keys, in their order."""
    wanted = ", ".join(["(?)"] * size)
    return (
        f"WITH wanted (key) AS (VALUES {wanted}) SELECT rows.row FROM wanted "  # noqa: S608
        "LEFT JOIN rows ON rows.view = ? AND rows.key = wanted.key"
    )


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[sqlite3.Connection]:
    connection.execute(begin)
    try:
        yield connection
    except BaseException:
        connection.rollback()
        raise
    connection.execute("COMMIT")
