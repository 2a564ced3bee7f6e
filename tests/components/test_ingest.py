"""Ingest: layouts in, raw tables and a quarantine out, refusals with counts by reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from components.ingest import ingest, resolve_source
from feature_store.erased import list_as_erased
from feature_store.pseudonyms import load_keyring
from learnloop.artifacts import Records
from learnloop.component import Context
from learnloop.errors import GateRefused, UsageError
from learnloop.ledger import open_ledger
from learnloop.settings import Settings


class Ingested:
    """What one call of the component wrote."""

    def __init__(self, folder: Path) -> None:
        scratch = folder / "scratch"
        scratch.mkdir(parents=True)
        self.context = Context.for_test(scratch)
        self.records = Records.create(folder / "records")
        self.quarantine = Records.create(folder / "quarantine")

    def call(self, source: Path | str, layout: str, **parameters: Any) -> Ingested:
        ingest.function(
            self.records,
            self.quarantine,
            source=str(source),
            layout=layout,
            context=self.context,
            **parameters,
        )
        return self

    @property
    def rejected(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.quarantine.table("rejected").to_pylist()
        return rows


@pytest.fixture
def ingested(tmp_path: Path) -> Ingested:
    return Ingested(tmp_path / "step")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, newline="")
    return path


def test_a_folder_of_csv_files_becomes_a_table_each(tmp_path: Path, ingested: Ingested) -> None:
    write(tmp_path / "data" / "attempts.csv", "learner,correct\n7,true\n8,false\n")
    write(tmp_path / "data" / "my skills.csv", "skill,level\nadd,0.5\n")
    write(tmp_path / "data" / "notes.txt", "not read")
    ingested.call(tmp_path / "data", "csv")
    assert ingested.records.table("attempts").to_pydict() == {
        "learner": [7, 8],
        "correct": [True, False],
    }
    assert ingested.records.table("my_skills").to_pydict() == {"skill": ["add"], "level": [0.5]}
    assert ingested.records.counts == {"attempts": 2, "my_skills": 1}
    assert ingested.rejected == []


def test_two_files_never_become_one_table(tmp_path: Path, ingested: Ingested) -> None:
    write(tmp_path / "data" / "my skills.csv", "skill\nadd\n")
    write(tmp_path / "data" / "my_skills.csv", "skill\nmultiply\n")
    with pytest.raises(UsageError) as error:
        ingested.call(tmp_path / "data", "csv")
    assert str(error.value) == (
        "Two tables of the source would be called 'my_skills'.\n"
        f"  where:    {tmp_path / 'data'}\n"
        "  expected: names that differ in letters or digits\n"
        "  received: my skills.csv, my_skills.csv"
    )


def test_one_csv_file_is_a_source_too(tmp_path: Path, ingested: Ingested) -> None:
    ingested.call(write(tmp_path / "attempts.csv", "learner\n7\n"), "csv")
    assert ingested.records.table("attempts").to_pydict() == {"learner": [7]}


def test_refused_rows_lie_in_quarantine_with_file_line_reason_and_text(
    tmp_path: Path, ingested: Ingested
) -> None:
    rows = "".join(f"{n},{n % 2}\n" for n in range(200))
    source = write(tmp_path / "attempts.csv", "learner,correct\n" + rows + "nobody,1\n" + "9\n")
    ingested.call(source, "csv", types={"learner": "int64"})
    assert ingested.records.counts == {"attempts": 200}
    assert ingested.rejected == [
        {
            "table": "attempts",
            "file": "attempts.csv",
            "line": 202,
            "reason": "column 'learner' is not a whole number",
            "text": "nobody,1",
        },
        {
            "table": "attempts",
            "file": "attempts.csv",
            "line": 203,
            "reason": "expected 2 columns, received 1",
            "text": "9",
        },
    ]
    assert ingested.quarantine.metadata["reasons"] == {
        "attempts": {
            "column 'learner' is not a whole number": 1,
            "expected 2 columns, received 1": 1,
        }
    }


def test_stated_types_are_kept(tmp_path: Path, ingested: Ingested) -> None:
    source = write(tmp_path / "attempts.csv", "learner,day\n7,2024-01-31\n")
    ingested.call(source, "csv", types={"learner": "string", "day": "string"})
    assert ingested.records.table("attempts").to_pydict() == {
        "learner": ["7"],
        "day": ["2024-01-31"],
    }


def test_rows_that_repeat_a_key_are_refused(tmp_path: Path, ingested: Ingested) -> None:
    source = write(tmp_path / "marks.csv", "learner,item,mark\n1,1,5\n1,2,6\n1,1,7\n2,1,8\n")
    ingested.call(source, "csv", key=("learner", "item"), max_rejected=0.25)
    assert ingested.records.table("marks")["mark"].to_pylist() == [5, 6, 8]
    assert [(row["line"], row["reason"], row["text"]) for row in ingested.rejected] == [
        (4, "repeats the key (learner, item) of an earlier row", "1,1,7")
    ]


def test_too_many_refused_rows_refuse_the_source_with_counts_by_reason(
    tmp_path: Path, ingested: Ingested
) -> None:
    source = write(tmp_path / "marks.csv", "learner,mark\n1,5\n2,6\n3\n4\nx,7\n")
    with pytest.raises(GateRefused) as error:
        ingested.call(source, "csv", types={"learner": "int64"}, max_rejected=0.5)
    assert str(error.value) == (
        "Refused: 3 of 5 rows of 'marks' cannot be read, at most 50.0% may be "
        "(expected 2 columns, received 1: 2; column 'learner' is not a whole number: 1).\n"
        f"  where:    {source}\n"
        "  next:     mend the rows listed in the quarantine, or raise max_rejected"
    )
    assert ingested.records.counts == {"marks": 2}
    assert len(ingested.rejected) == 3


def test_a_share_of_refused_rows_that_is_just_allowed_passes(
    tmp_path: Path, ingested: Ingested
) -> None:
    source = write(tmp_path / "marks.csv", "learner,mark\n1,5\n2,6\n3\n")
    ingested.call(source, "csv", max_rejected=1 / 3)
    assert ingested.records.counts == {"marks": 2}


def test_parquet_files_and_folders_of_parts_become_tables(
    tmp_path: Path, ingested: Ingested
) -> None:
    data = tmp_path / "data"
    (data / "clicks").mkdir(parents=True)
    parquet.write_table(pa.table({"learner": [1, 2]}), data / "learners.parquet")
    parquet.write_table(pa.table({"day": pa.array([3], pa.int32())}), data / "clicks" / "a.parquet")
    parquet.write_table(pa.table({"day": pa.array([4], pa.int16())}), data / "clicks" / "b.parquet")
    ingested.call(data, "parquet")
    assert ingested.records.table("learners").to_pydict() == {"learner": [1, 2]}
    assert ingested.records.table("clicks").to_pydict() == {"day": [3, 4]}
    assert str(ingested.records.schema("clicks").field("day").type) == "int32"


def test_parts_with_other_columns_are_an_error(tmp_path: Path, ingested: Ingested) -> None:
    folder = tmp_path / "data" / "clicks"
    folder.mkdir(parents=True)
    parquet.write_table(pa.table({"day": [3], "site": [1]}), folder / "a.parquet")
    parquet.write_table(pa.table({"day": [4]}), folder / "b.parquet")
    with pytest.raises(UsageError) as error:
        ingested.call(tmp_path / "data", "parquet")
    assert str(error.value) == (
        f"A Parquet file lacks a column.\n  where:    {folder / 'b.parquet'}\n"
        "  expected: day, site\n  received: day"
    )


def test_a_damaged_parquet_file_is_an_error(tmp_path: Path, ingested: Ingested) -> None:
    file = tmp_path / "clicks.parquet"
    file.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UsageError) as error:
        ingested.call(file, "parquet")
    assert error.value.what == "A file is not Parquet."
    assert error.value.where == str(file)


def test_a_parquet_file_damaged_within_is_an_error(tmp_path: Path, ingested: Ingested) -> None:
    file = tmp_path / "clicks.parquet"
    parquet.write_table(pa.table({"day": list(range(50_000))}), file, compression="gzip")
    data = bytearray(file.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 100] = b"\xff" * 100
    file.write_bytes(bytes(data))
    with pytest.raises(UsageError) as error:
        ingested.call(file, "parquet")
    assert error.value.what == "A Parquet file is damaged."
    assert error.value.where == str(file)


def test_parts_of_other_types_are_an_error_without_their_values(
    tmp_path: Path, ingested: Ingested
) -> None:
    folder = tmp_path / "data" / "clicks"
    folder.mkdir(parents=True)
    parquet.write_table(pa.table({"day": [3]}), folder / "a.parquet")
    parquet.write_table(pa.table({"day": ["SECRET"]}), folder / "b.parquet")
    with pytest.raises(UsageError) as error:
        ingested.call(tmp_path / "data", "parquet")
    assert str(error.value) == (
        "A Parquet file's columns have other types than the table.\n"
        f"  where:    {folder / 'b.parquet'}\n  expected: day int64\n  received: day string"
    )


def test_a_source_without_rows_is_an_error(tmp_path: Path, ingested: Ingested) -> None:
    source = write(tmp_path / "marks.csv", "learner,mark\n")
    with pytest.raises(UsageError) as error:
        ingested.call(source, "csv")
    assert str(error.value) == (
        f"The source holds no rows.\n  where:    {source}\n"
        "  expected: at least one row beside the header\n  received: none in marks"
    )


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no such path": (
        {"source": "{folder}/absent", "layout": "csv"},
        "There is no such source.\n  where:    {folder}/absent\n  expected: *.csv\n"
        "  received: nothing at this path\n"
        "  next:     check the path, or make data with: learnloop simulate",
    ),
    "no such layout": (
        {"source": "{folder}", "layout": "ouladd"},
        "There is no layout 'ouladd'.\n  where:    parameter 'layout'\n"
        "  expected: did you mean 'oulad'?\n  received: 'ouladd'",
    ),
    "another layout": (
        {"source": "{folder}", "layout": "parquet"},
        "The source has no file of the layout 'parquet'.\n  where:    {folder}\n"
        "  expected: *.parquet, or folders of them\n  received: none of these\n"
        "  next:     choose another layout: csv, events, knowledge_tracing, oulad, parquet, sql",
    ),
    "no such column": (
        {"source": "{folder}", "layout": "csv", "types": {"lerner": "string"}},
        "No CSV file has a column 'lerner'.\n  where:    parameter 'types' or 'key'\n"
        "  expected: did you mean 'learner'?\n  received: 'lerner'",
    ),
    "no share": (
        {"source": "{folder}", "layout": "csv", "max_rejected": 5},
        "max_rejected is a share of the rows.\n  where:    parameter 'max_rejected'\n"
        "  expected: 0 to 1\n  received: 5",
    ),
    "a password": (
        {"source": "postgresql://me:secret@host/db", "layout": "sql"},
        "A source must not hold a password: parameters are recorded and shown.\n"
        "  where:    parameter 'source'\n  expected: the name of a connection\n"
        "  received: a URL with a password in it\n"
        "  next:     export LEARNLOOP_CONNECTION_PLATFORM=<the URL>, and give source=platform",
    ),
    "no such connection": (
        {"source": "nowhere", "layout": "sql"},
        "There is no connection 'nowhere'.\n  where:    the environment\n"
        "  expected: a URL in LEARNLOOP_CONNECTION_NOWHERE\n"
        "  next:     export LEARNLOOP_CONNECTION_NOWHERE="
        "postgresql://user:password@host/database",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_explained(name: str, tmp_path: Path, ingested: Ingested) -> None:
    write(tmp_path / "data" / "marks.csv", "learner,mark\n1,5\n")
    parameters, message = MISTAKES[name]
    folder = str(tmp_path / "data")
    given = {**parameters, "source": parameters["source"].format(folder=folder)}
    with pytest.raises(UsageError) as error:
        ingested.call(**given)
    assert str(error.value) == message.format(folder=folder)


def test_a_raw_value_never_reaches_a_reason_or_an_error(tmp_path: Path, ingested: Ingested) -> None:
    source = write(tmp_path / "marks.csv", 'learner,mark\nSECRET,5\nSECRET\n"SECRET,5\n')
    with pytest.raises(GateRefused) as error:
        ingested.call(source, "csv", types={"learner": "int64"})
    assert "SECRET" not in str(error.value)
    assert "SECRET" not in str(ingested.quarantine.metadata)


def test_the_source_digest_follows_the_bytes_that_the_layout_reads(tmp_path: Path) -> None:
    file = write(tmp_path / "data" / "marks.csv", "learner\n1\n")
    parameters = {"source": str(tmp_path / "data"), "layout": "csv"}
    before = resolve_source(parameters, Settings())
    write(tmp_path / "data" / "README.md", "not read")
    file.touch()
    assert resolve_source(parameters, Settings()) == before
    write(file, "learner\n2\n")
    assert resolve_source(parameters, Settings()) != before


def test_a_database_is_read_anew_every_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEARNLOOP_CONNECTION_PLATFORM", f"sqlite:///{tmp_path / 'platform.db'}")
    parameters = {"source": "platform", "layout": "sql"}
    first, second = (resolve_source(parameters, Settings()) for _ in range(2))
    assert first["undigested"] == "a database is read anew at every run"
    assert first != second


def erase(settings: Settings, monkeypatch: pytest.MonkeyPatch, learner: str) -> None:
    monkeypatch.setenv("LEARNLOOP_PSEUDONYM_KEYS", "2026:" + "k" * 32)
    list_as_erased(open_ledger(settings.ledger_url), load_keyring(), learner, "ada")


def test_rows_of_erased_people_do_not_come_back(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"{n},{n}.5\n" for n in range(300))
    source = write(tmp_path / "marks.csv", f"learner,mark\n{rows}x,8\n28,y\n29,y\n")
    types = {"learner": "int64", "mark": "double"}
    before = resolve_source({"source": str(source), "layout": "csv"}, settings)
    erase(settings, monkeypatch, "28")
    after = resolve_source({"source": str(source), "layout": "csv"}, settings)
    assert before["files"] == after["files"] and set(after) - set(before) == {"erased"}
    ingested = Ingested(tmp_path / "step").call(source, "csv", types=types)
    learners = ingested.records.table("marks")["learner"].to_pylist()
    assert learners == [n for n in range(300) if n != 28]
    assert [row["text"] for row in ingested.rejected] == ["x,8", "29,y"]
    without = write(
        tmp_path / "other" / "marks.csv",
        "learner,mark\n" + rows.replace("28,28.5\n", "", 1) + "x,8\n29,y\n",
    )
    monkeypatch.delenv("LEARNLOOP_PSEUDONYM_KEYS")
    monkeypatch.setenv("LEARNLOOP_HOME", "elsewhere")
    by_hand = Ingested(tmp_path / "by-hand").call(without, "csv", types=types)
    assert ingested.records.content_digest() == by_hand.records.content_digest()
