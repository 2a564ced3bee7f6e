"""Databases: typed tables in the order of their key, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy

from components.engines.readers import Rejects, open_source, sql
from components.engines.readers.tables import Options
from learnloop.errors import LearnLoopError, UsageError

pytestmark = pytest.mark.xdist_group("sources")


@pytest.fixture
def postgres_url(new_postgres_database: Callable[[], str]) -> str:
    return new_postgres_database()


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'platform.db'}"


@pytest.fixture(params=["sqlite", "postgres_url"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with two tables, behind the connection ``platform``."""
    url: str = request.getfixturevalue(request.param)
    monkeypatch.setenv("LEARNLOOP_CONNECTION_PLATFORM", url)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    metadata = sqlalchemy.MetaData()
    attempts = sqlalchemy.Table(
        "attempts",
        metadata,
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("learner", sqlalchemy.String),
        sqlalchemy.Column("correct", sqlalchemy.Boolean),
        sqlalchemy.Column("score", sqlalchemy.Numeric(5, 2)),
        sqlalchemy.Column("seconds", sqlalchemy.Float),
        sqlalchemy.Column("at", sqlalchemy.DateTime),
        sqlalchemy.Column("day", sqlalchemy.Date),
    )
    skills = sqlalchemy.Table("skills", metadata, sqlalchemy.Column("name", sqlalchemy.Text))
    metadata.create_all(engine)
    at = datetime.datetime(2024, 1, 31, 10, 30)
    rows: list[dict[str, Any]] = [
        {"id": 2, "learner": "b", "correct": None, "score": None, "seconds": None, "at": None},
        {"id": 1, "learner": "a", "correct": True, "score": 7.25, "seconds": 0.5, "at": at},
    ]
    with engine.begin() as writing:
        writing.execute(attempts.insert(), [{**row, "day": at.date()} for row in rows])
        writing.execute(skills.insert(), [{"name": "add"}])
    return "platform"


def read(
    source: str, tmp_path: Path, options: Options = Options()
) -> tuple[dict[str, pa.Table], list[dict[str, Any]]]:
    with Rejects(tmp_path / "rejects") as rejects:
        tables = {
            table.name: pa.Table.from_batches(table.read(rejects), table.schema)
            for table in open_source(source, "sql", scratch=tmp_path, options=options)
        }
    return tables, [row for batch in rejects.batches() for row in batch.to_pylist()]


def test_tables_come_typed_and_in_the_order_of_their_key(platform: str, tmp_path: Path) -> None:
    tables, refused = read(platform, tmp_path)
    assert refused == []
    assert list(tables) == ["attempts", "skills"]
    assert [str(kind) for kind in tables["attempts"].schema.types] == [
        "int64", "string", "bool", "double", "double", "timestamp[us]", "date32[day]",
    ]  # fmt: skip
    assert tables["attempts"].to_pylist() == [
        {
            "id": 1,
            "learner": "a",
            "correct": True,
            "score": 7.25,
            "seconds": 0.5,
            "at": datetime.datetime(2024, 1, 31, 10, 30),
            "day": datetime.date(2024, 1, 31),
        },
        {
            "id": 2,
            "learner": "b",
            "correct": None,
            "score": None,
            "seconds": None,
            "at": None,
            "day": datetime.date(2024, 1, 31),
        },
    ]
    assert tables["skills"].to_pydict() == {"name": ["add"]}


def test_only_the_tables_named_are_read(platform: str, tmp_path: Path) -> None:
    assert list(read(f"{platform}#skills", tmp_path)[0]) == ["skills"]


def test_rows_that_repeat_a_key_are_refused(platform: str, tmp_path: Path) -> None:
    tables, refused = read(platform, tmp_path, Options(key=("day",)))
    assert tables["attempts"]["id"].to_pylist() == [1]
    assert [(row["table"], row["line"], row["reason"]) for row in refused] == [
        ("attempts", 2, "repeats the key (day) of an earlier row")
    ]


def test_many_rows_stream_in_batches(
    sqlite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "BATCH_ROWS", 10)
    engine = sqlalchemy.create_engine(sqlite)
    with engine.begin() as writing:
        writing.execute(sqlalchemy.text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"))
        writing.execute(
            sqlalchemy.text("INSERT INTO numbers VALUES (:n)"), [{"n": n} for n in range(25)]
        )
    with Rejects(tmp_path / "rejects") as rejects:
        (table,) = open_source(sqlite, "sql", scratch=tmp_path)
        assert [batch.num_rows for batch in table.read(rejects)] == [10, 10, 5]


def test_an_unknown_table_is_answered_with_the_closest(platform: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read(f"{platform}#atempts", tmp_path)
    assert str(error.value) == (
        "The database has no table 'atempts'.\n  where:    connection 'platform'\n"
        "  expected: did you mean 'attempts'?\n  received: 'atempts'"
    )


def test_text_in_a_number_column_of_sqlite_is_an_error(sqlite: str, tmp_path: Path) -> None:
    with sqlalchemy.create_engine(sqlite).begin() as writing:
        writing.execute(sqlalchemy.text("CREATE TABLE marks (mark INTEGER)"))
        writing.execute(sqlalchemy.text("INSERT INTO marks VALUES ('high')"))
    with pytest.raises(UsageError) as error:
        read(sqlite, tmp_path)
    assert str(error.value) == (
        "A database column holds values of another type.\n  where:    column 'mark'\n"
        "  expected: int64\n  received: a value that does not fit"
    )


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://me:secret@host/db",
        "postgresql://me:se/cret@host/db",
        "postgresql://host/db?user=me&password=secret",
        "s3://key:secret@bucket/prefix",
    ],
)
def test_a_password_in_a_parameter_is_refused_and_not_repeated(source: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        open_source(source, "sql" if "postgres" in source else "csv", scratch=tmp_path)
    assert error.value.what == (
        "A source must not hold a password: parameters are recorded and shown."
    )
    assert "cret" not in str(error.value)


def test_a_database_that_is_gone_is_a_fault_without_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        url = f"postgresql://me:secret@127.0.0.1:{port}/db"
        monkeypatch.setenv("LEARNLOOP_CONNECTION_PLATFORM", url)
        with pytest.raises(LearnLoopError) as error:
            read("platform", tmp_path)
    assert str(error.value) == (
        "The database cannot be read.\n  where:    connection 'platform'\n"
        "  received: OperationalError\n"
        "  next:     check that the database runs, and the connection's URL"
    )


def test_a_missing_sqlite_file_is_an_error_and_is_not_made(sqlite: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read(sqlite, tmp_path)
    assert str(error.value) == (
        f"There is no such database file.\n  where:    connection '{sqlite}'\n"
        "  expected: a SQLite file\n  received: nothing at its path"
    )
    assert not (tmp_path / "platform.db").exists()


def test_a_database_without_tables_is_an_error(sqlite: str, tmp_path: Path) -> None:
    (tmp_path / "platform.db").touch()
    with pytest.raises(UsageError) as error:
        read(sqlite, tmp_path)
    assert str(error.value) == f"The database has no tables.\n  where:    connection '{sqlite}'"
