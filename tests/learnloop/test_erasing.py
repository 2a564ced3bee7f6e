"""Rows are removed from Parquet files as a list comprehension would, and nothing else changes."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from learnloop.erasing import FileChanged, erase_owned, expire_hour, open_rows
from learnloop.errors import CorruptArtifact

HOUR = datetime(2026, 3, 2, 9, tzinfo=UTC)
NAMES = ["ada", "bob", "eve"]
SCHEMA = pa.schema([("at", pa.timestamp("us", "UTC")), ("owner", pa.string()), ("n", pa.int64())])
ROWS = st.lists(st.tuples(st.integers(0, 59), st.sampled_from([*NAMES, None])), max_size=12)


def write(folder: Path, rows: list[tuple[int, str | None]], group: int) -> Path:
    table = pa.Table.from_pylist(
        [
            {"at": HOUR + timedelta(minutes=minute), "owner": owner, "n": n}
            for n, (minute, owner) in enumerate(rows)
        ],
        SCHEMA,
    )
    path = folder / "part.parquet"
    parquet.write_table(table, path, row_group_size=group, compression="zstd")
    return path


def numbers(path: Path) -> list[int]:
    table = parquet.ParquetFile(path).read()
    assert table.schema.equals(SCHEMA)
    found: list[int] = table["n"].to_pylist()
    return found


@settings(max_examples=60)
@given(ROWS, st.sets(st.sampled_from(NAMES)), st.integers(1, 5))
def test_the_rows_of_somebody_go(
    rows: list[tuple[int, str | None]], owners: set[str], group: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), rows, group)
        before = path.stat().st_ino
        left = [n for n, (_, owner) in enumerate(rows) if owner not in owners]
        assert erase_owned(path, "owner", owners) == len(rows) - len(left)
        assert numbers(path) == left
        assert (path.stat().st_ino == before) == (len(left) == len(rows))
        assert list(Path(folder).iterdir()) == [path]


@settings(max_examples=60)
@given(ROWS, st.sets(st.sampled_from(NAMES)), st.integers(-70, 130))
def test_what_is_old_goes_except_what_is_held(
    rows: list[tuple[int, str | None]], held: set[str], minute: int
) -> None:
    before = HOUR + timedelta(minutes=minute)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), rows, 5)
        left = [n for n, (at, owner) in enumerate(rows) if at >= minute or owner in held]
        gone = expire_hour(path, HOUR, before, time="at", owner="owner", held=held)
        assert gone == len(rows) - len(left)
        if minute >= 60 and not left:
            assert not path.exists()
        else:
            assert numbers(path) == left


def test_a_column_that_is_not_there_has_nobody(tmp_path: Path) -> None:
    assert erase_owned(write(tmp_path, [(1, "ada")], 1), "learner", ["ada"]) == 0


def test_what_is_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_text("torn")
    with pytest.raises(CorruptArtifact) as error:
        erase_owned(path, "owner", ["ada"])
    assert str(error.value) == (
        f"A file is not Parquet.\n  where:    {path}\n  expected: a Parquet file"
    )


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_a_file_that_somebody_else_changes_is_left_to_them(tmp_path: Path, change: str) -> None:
    path = write(tmp_path, [(1, "ada"), (2, "bob")], 2)
    looks = []

    def choose(table: pa.Table) -> pa.Array:
        looks.append(table)
        if len(looks) == 2 and change == "replaced":
            other = path.with_name("other")
            other.write_bytes(b"theirs")
            other.replace(path)
        elif len(looks) == 2:
            path.unlink()
        return pa.array([True, False])

    with open_rows(path) as rows, pytest.raises(FileChanged) as error:
        rows.erase(["owner"], choose)
    assert error.value.what == "A file changed while it was erased from."
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"theirs"] * (change == "replaced")
