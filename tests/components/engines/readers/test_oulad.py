"""OULAD as it circulates: missing values, types, keys, parts in place of the largest file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pyarrow import csv

from components.engines.readers import Rejects, open_source
from components.engines.readers.oulad import COLUMNS, table_schema
from learnloop.errors import UsageError

ROWS = {
    "courses": ["AAA,2013J,268"],
    "assessments": ["AAA,2013J,1752,TMA,19,10", "AAA,2013J,1757,Exam,?,100"],
    "vle": ["546943,AAA,2013J,resource,,", "546944,AAA,2013J,quiz,1,?"],
    "studentInfo": [
        "AAA,2013J,11391,M,Wales,HE Qualification,10-20,55<=,0,240,N,Pass",
        "AAA,2013J,28400,F,Wales,HE Qualification,?,35-55,0,60,N,Fail",
    ],
    "studentRegistration": ["AAA,2013J,11391,-159,", "AAA,2013J,28400,?,12"],
    "studentAssessment": ["1752,11391,18,0,78", "1752,28400,22,0,?"],
    "studentVle": ["AAA,2013J,28400,546943,-10,4", "AAA,2013J,28400,546943,-10,4"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small OULAD, as CSV."""
    for table, rows in ROWS.items():
        header = ",".join(column.split(" ")[0] for column in COLUMNS[table].split(", "))
        (tmp_path / f"{table}.csv").write_text("\n".join([header, *rows]) + "\n")
    return tmp_path


def read(folder: Path) -> tuple[dict[str, pa.Table], list[dict[str, Any]]]:
    scratch = folder / "scratch"
    scratch.mkdir()
    with Rejects(scratch / "rejects") as rejects:
        tables = {
            table.name: pa.Table.from_batches(table.read(rejects), table.schema)
            for table in open_source(str(folder), "oulad", scratch=scratch)
        }
    return tables, [row for batch in rejects.batches() for row in batch.to_pylist()]


def test_missing_values_are_null_however_they_are_written(folder: Path) -> None:
    tables, refused = read(folder)
    assert refused == []
    assert tables["assessments"]["date"].to_pylist() == [19, None]
    assert tables["vle"]["week_from"].to_pylist() == [None, 1]
    assert tables["vle"]["week_to"].to_pylist() == [None, None]
    assert tables["studentRegistration"]["date_registration"].to_pylist() == [-159, None]
    assert tables["studentRegistration"]["date_unregistration"].to_pylist() == [None, 12]
    assert tables["studentAssessment"]["score"].to_pylist() == [78.0, None]


def test_the_band_without_its_sign_is_mended(folder: Path) -> None:
    assert read(folder)[0]["studentInfo"]["imd_band"].to_pylist() == ["10-20%", None]


def test_clicks_of_a_day_may_come_in_several_equal_rows(folder: Path) -> None:
    assert read(folder)[0]["studentVle"].num_rows == 2


def test_parts_stand_in_for_the_largest_file(folder: Path) -> None:
    expected = read(folder)[0]["studentVle"]
    (folder / "scratch" / "rejects").unlink()
    (folder / "scratch").rmdir()
    (folder / "studentVle.csv").unlink()
    (folder / "studentVle").mkdir()
    narrow = expected.cast(
        table_schema("studentVle").set(4, pa.field("date", pa.int16(), nullable=False))
    )
    parquet.write_table(narrow.slice(0, 1), folder / "studentVle" / "AAA_2013J.parquet")
    parquet.write_table(narrow.slice(1), folder / "studentVle" / "BBB_2013J.parquet")
    assert read(folder)[0]["studentVle"].equals(expected)


REFUSED = [
    ("studentInfo", "AAA,2013J,11391,M,Wales,X,?,0-35,0,60,N,Fail", "repeats the key "
     "(code_module, code_presentation, id_student) of an earlier row"),
    ("studentAssessment", "1752,11391,20,0,60", "repeats the key (id_assessment, id_student) of "
     "an earlier row"),
    ("studentAssessment", "1752,77,soon,0,60", "column 'date_submitted' is not a whole number"),
    ("studentAssessment", "1752,?,20,0,60", "column 'id_student' has no value"),
    ("studentVle", "AAA,2013J,28400,546943,-10", "expected 6 columns, received 5"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "row", "reason"), REFUSED)
def test_a_row_that_does_not_fit_is_refused(
    table: str, row: str, reason: str, folder: Path
) -> None:
    with (folder / f"{table}.csv").open("a") as file:
        file.write(row + "\n")
    tables, refused = read(folder)
    line = len(ROWS[table]) + 2
    assert [(r["table"], r["line"], r["reason"]) for r in refused] == [(table, line, reason)]
    assert tables[table].num_rows == len(ROWS[table])


def test_an_incomplete_folder_is_an_error(folder: Path) -> None:
    (folder / "vle.csv").unlink()
    (folder / "studentVle.csv").unlink()
    with pytest.raises(UsageError) as error:
        read(folder)
    assert str(error.value) == (
        f"The OULAD folder is not complete.\n  where:    {folder}\n"
        "  expected: courses.csv, assessments.csv, vle.csv, studentInfo.csv, "
        "studentRegistration.csv, studentAssessment.csv, studentVle.csv "
        "(or studentVle/*.parquet in place of studentVle.csv)\n"
        "  received: no vle.csv, no studentVle.csv"
    )


def test_clicks_given_twice_are_an_error(folder: Path) -> None:
    (folder / "studentVle").mkdir()
    (folder / "studentVle" / "AAA_2013J.parquet").touch()
    with pytest.raises(UsageError) as error:
        read(folder)
    assert error.value.what == "studentVle is there twice."
    assert error.value.received == "studentVle.csv and its parts"


def test_a_missing_column_is_an_error(folder: Path) -> None:
    (folder / "courses.csv").write_text("code_module,code_presentation\nAAA,2013J\n")
    with pytest.raises(UsageError) as error:
        read(folder)
    assert str(error.value) == (
        f"courses.csv lacks a column.\n  where:    {folder / 'courses.csv'}, line 1\n"
        "  expected: code_module, code_presentation, module_presentation_length\n"
        "  received: code_module, code_presentation"
    )


@pytest.mark.slow
def test_the_original_csv_file_and_its_parts_give_equal_rows(
    real_data: Path, tmp_path: Path
) -> None:
    """443 MB of quoted CSV, written from the parts, are the original file to the byte."""
    import hashlib

    from learnloop.rows import RowDigest

    parts, copy = real_data / "oulad", tmp_path / "copy"
    copy.mkdir()
    for file in parts.glob("*.csv"):
        (copy / file.name).symlink_to(file)
    schema = table_schema("studentVle")
    as_text = pa.schema([pa.field(name, pa.string()) for name in schema.names])
    with csv.CSVWriter(str(copy / "studentVle.csv"), as_text) as writer:
        for file in sorted((parts / "studentVle").glob("*.parquet")):
            writer.write(parquet.read_table(file).replace_schema_metadata().cast(as_text))
    with (copy / "studentVle.csv").open("rb") as original:
        assert hashlib.file_digest(original, "sha256").hexdigest() == (
            "0d514603844ee21494fc687a6080ba4d77cbe50608343a3261708847ac7211f2"
        )
    digests = []
    for source in (parts, copy):
        with Rejects(tmp_path / "rejects") as rejects:
            table = open_source(str(source), "oulad", scratch=tmp_path)[-1]
            digest = RowDigest()
            digest.start(schema)
            for batch in table.read(rejects):
                digest.update(batch)
        assert rejects.counts == {}
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]
