"""The journal on SQLite and PostgreSQL: one suite for both."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from learnloop.ledger import Ledger, open_ledger
from learnloop.ledger.journal import JournalEntry, append_to_journal, read_journal


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    if request.param == "sqlite":
        return open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    return open_ledger(request.getfixturevalue("new_postgres_database")())


def entry(subject: str = "dense", **document: object) -> JournalEntry:
    return JournalEntry("serving", subject, "ada", document)


def test_what_was_appended_is_read_in_order(ledger: Ledger) -> None:
    first, second, other = entry(to=1), entry(to=2, why="better"), entry("lstm", to=7)
    append_to_journal(ledger, first)
    append_to_journal(ledger, other, second)
    assert read_journal(ledger, "serving", "dense") == [first, second]
    assert read_journal(ledger, "serving") == [first, other, second]
    assert read_journal(ledger, "champion") == []
    assert first.at.tzinfo is UTC
    assert first.at <= datetime.now(UTC)


def test_appending_again_adds_nothing(ledger: Ledger) -> None:
    once = entry(to=1)
    append_to_journal(ledger, once)
    append_to_journal(ledger, once, entry(to=2))
    assert [e.document for e in read_journal(ledger, "serving")] == [{"to": 1}, {"to": 2}]


@pytest.mark.parametrize("change", ["UPDATE journal SET actor = 'eve'", "DELETE FROM journal"])
def test_nobody_changes_or_removes_a_row(ledger: Ledger, change: str) -> None:
    append_to_journal(ledger, entry(to=1))
    with (
        pytest.raises(DBAPIError, match="the journal is append-only"),
        ledger._engine.begin() as connection,
    ):
        connection.execute(sa.text(change))
    assert [e.actor for e in read_journal(ledger, "serving")] == ["ada"]


def test_writers_at_once_lose_nothing(ledger: Ledger) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            append_to_journal(ledger, entry(f"model-{writer}", to=number))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for writer in range(4):
        rows = read_journal(ledger, "serving", f"model-{writer}")
        assert [row.document["to"] for row in rows] == list(range(10))


def test_a_ledger_from_before_the_journal_gets_one(tmp_path: Path) -> None:
    from learnloop.ledger.migrate import migrate

    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    engine = sa.create_engine(url)
    migrate(engine, "0001")
    assert not sa.inspect(engine).has_table("journal")
    engine.dispose()
    upgraded = open_ledger(url)
    once = entry(to=1)
    append_to_journal(upgraded, once)
    assert read_journal(upgraded, "serving") == [once]
