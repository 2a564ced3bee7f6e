"""What is particular to the online store in SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from feature_store.online.sqlite import SqliteStore
from feature_store.online.store import OnlineStoreUnavailable
from learnloop.errors import LearnLoopError, UsageError
from tests.feature_store.online.packed import (
    SCHEMA,
    VIEW,
    key,
    learner_part,
    materialize,
    numbered,
    packed,
    read,
)


def test_no_byte_of_an_erased_row_is_left(sqlite_store: SqliteStore) -> None:
    """Thousands of rows, so that pages were split and joined while they were written."""
    rows = [(key(n), packed(n)) for n in range(5000)]
    materialize(sqlite_store, rows)
    for begin in range(0, 5000, 500):
        sqlite_store.push(VIEW, SCHEMA, numbered(range(begin, begin + 500), begin, happened=begin))
    gone = [17, 2500, 2501, 4999]
    assert any(b"".join(_bytes(sqlite_store)).count(learner_part(n)) for n in gone)
    assert sqlite_store.erase(VIEW, [learner_part(n) for n in gone]) == 4
    for content in _bytes(sqlite_store):
        assert [n for n in gone if learner_part(n) in content] == []
    assert read(sqlite_store, [16, *gone]) == [0, None, None, None, None]


def test_a_reader_that_keeps_the_log_is_told(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of writes cannot be emptied under a reader; the rows are gone all the same."""
    monkeypatch.setattr("feature_store.online.sqlite.WAIT_SECONDS", 0.1)
    materialize(sqlite_store, numbered([1, 2], 1))
    reader = sqlite3.connect(sqlite_store.file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM rows").fetchone()
    sqlite_store.close()
    with pytest.raises(LearnLoopError) as raised:
        sqlite_store.erase(VIEW, [learner_part(1)])
    assert str(raised.value) == (
        "The rows are erased, but the log of writes, which readers are using, still has their "
        "bytes.\n"
        f"  where:    {sqlite_store.file}-wal\n"
        "  next:     erase again"
    )
    assert read(sqlite_store, [1, 2]) == [None, 1]
    reader.close()
    assert sqlite_store.erase(VIEW, [learner_part(1)]) == 0
    assert all(learner_part(1) not in content for content in _bytes(sqlite_store))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "online.db"
    file.write_bytes(b"nothing of the kind " * 100)
    with pytest.raises(OnlineStoreUnavailable) as raised:
        read(SqliteStore(file), [1])
    assert str(raised.value) == (
        "The online store does not answer.\n"
        f"  where:    {file}\n"
        "  received: DatabaseError: file is not a database"
    )


def test_a_file_of_another_version(tmp_path: Path) -> None:
    file = tmp_path / "online.db"
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(UsageError) as raised:
        SqliteStore(file).state(VIEW)
    assert str(raised.value) == (
        "The online store was written by another version of LearnLoop.\n"
        f"  where:    {file}\n"
        "  expected: format 1\n"
        "  received: format 7\n"
        "  next:     remove the file, then learnloop features materialize"
    )


def test_somebody_else_holds_the_file(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer waits for a bounded time; readers never wait."""
    materialize(sqlite_store, numbered([1], 1))
    monkeypatch.setattr("feature_store.online.sqlite.WAIT_SECONDS", 0.1)
    sqlite_store.close()
    other = sqlite3.connect(sqlite_store.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OnlineStoreUnavailable) as raised:
        sqlite_store.push(VIEW, SCHEMA, numbered([1], 2))
    assert raised.value.received == "OperationalError: database is locked"
    assert read(sqlite_store, [1]) == [1]
    other.execute("ROLLBACK")
    other.close()
    sqlite_store.push(VIEW, SCHEMA, numbered([1], 2))
    assert read(sqlite_store, [1]) == [2]


def _bytes(store: SqliteStore) -> list[bytes]:
    """The content of the database and of the files beside it."""
    return [file.read_bytes() for file in store.file.parent.glob(f"{store.file.name}*")]
