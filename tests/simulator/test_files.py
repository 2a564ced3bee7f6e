"""Files have the same bytes however their rows arrive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator import files
from simulator.files import CsvFile, ParquetFile, content, named, text

SCHEMA = pa.schema([("number", pa.int32())])


@pytest.mark.parametrize(
    ("values", "written"),
    [
        (np.array([3, -1]), [b"3", b"-1"]),
        (np.array([3.0, np.nan]), [b"3", b""]),
        (np.array([12.5, np.nan, 20.0]), [b"12.5", b"", b"20"]),
        (np.array([True, False]), [b"1", b"0"]),
        (pa.array(["a", ""]), [b"a", b""]),
    ],
)
def test_text(values, written: list[bytes]) -> None:
    assert text(values).to_pylist() == written


def test_named_leaves_what_is_missing_empty() -> None:
    assert named(np.array([1, -1, 0]), ("a", "b")).to_pylist() == ["b", "", "a"]


def test_content_of_a_slice_is_the_slice_alone() -> None:
    assert bytes(content(pa.array([b"one", b"two", b"three"]).slice(1, 1))) == b"two"
    assert bytes(content(pa.array([], pa.binary()))) == b""


def test_csv_quotes_every_field(tmp_path: Path) -> None:
    with CsvFile(tmp_path / "table.csv", ("code", "day")) as file:
        file.write(pa.array(["A", "B"]), np.array([1.0, np.nan]))
        file.write(pa.array(["C"]), np.array([2]))
    assert file.rows == 3
    assert (tmp_path / "table.csv").read_bytes() == b'"code","day"\n"A","1"\n"B",""\n"C","2"\n'


@pytest.mark.parametrize("rows_at_once", [7, 100, 1_000])
def test_parquet_parts_and_groups_do_not_depend_on_how_rows_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(files, "ROWS_PER_GROUP", 100)
    numbers = np.arange(1_000, dtype=np.int32)
    with ParquetFile(tmp_path / "numbers", SCHEMA, rows_per_file=300) as file:
        for first in range(0, 1_000, rows_at_once):
            file.write(pa.table([numbers[first : first + rows_at_once]], schema=SCHEMA))
    parts = sorted((tmp_path / "numbers").iterdir())
    assert [part.name for part in parts] == [f"part-{place:05d}.parquet" for place in range(4)]
    assert [pq.ParquetFile(part).metadata.num_row_groups for part in parts] == [3, 3, 3, 1]
    assert pq.read_table(tmp_path / "numbers")["number"].to_pylist() == numbers.tolist()


def test_a_parquet_file_without_rows_has_its_columns(tmp_path: Path) -> None:
    with ParquetFile(tmp_path / "none.parquet", SCHEMA, None):
        pass
    assert pq.read_table(tmp_path / "none.parquet").schema == SCHEMA
