"""Every fault is on record, at its line; with the faults mended the files are the sound ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.csv as csv
import pytest

from simulator import SimulationSettings, simulate
from simulator.corruption import JUNK

OULAD_TABLES = ("studentInfo", "studentRegistration", "studentAssessment")
TRACING_FILES = ("train", "train1", "valid1", "test")
SIZE = {"attempts": 20_000, "seed": 4}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "data"
    simulate(SimulationSettings(**SIZE), folder)
    return folder


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corrupted") / "data"
    summary = simulate(SimulationSettings(**SIZE, corruption=0.1), folder, learners_at_once=100)
    assert summary.faults == sum(len(faults(folder, name)) for name in recorded(folder))
    return folder


def recorded(folder: Path) -> list[str]:
    return [file.stem for file in sorted((folder / "truth" / "faults").iterdir())]


def faults(folder: Path, name: str) -> list[dict[str, object]]:
    path = folder / "truth" / "faults" / f"{name}.csv"
    quoted = csv.ParseOptions(newlines_in_values=True)
    texts = csv.ConvertOptions(column_types={"original": "string", "column": "string"})
    return csv.read_csv(path, parse_options=quoted, convert_options=texts).to_pylist()


def lines_of(folder: Path, table: str) -> list[bytes]:
    return (folder / table).read_bytes().split(b"\n")


@pytest.mark.parametrize("name", OULAD_TABLES)
def test_mended_tables_are_the_sound_ones(sound: Path, corrupted: Path, name: str) -> None:
    table = f"oulad/{name}.csv"
    lines = lines_of(corrupted, table)
    header = lines[0][1:-1].split(b'","')
    mended: dict[int, bytes | None] = {}
    for fault in faults(corrupted, name):
        line = int(str(fault["line"])) - 1
        original = str(fault["original"]).encode()
        if fault["fault"] == "duplicated_key":
            assert lines[line] == lines[line - 1] == original
            mended[line] = None
            continue
        fields = lines[line][1:-1].split(b'","')
        expected = {"missing_column": -1, "surplus_column": 1}.get(str(fault["fault"]), 0)
        assert len(fields) == len(header) + expected
        if expected:
            mended[line] = original
            continue
        place = header.index(str(fault["column"]).encode())
        assert fields[place] == JUNK[str(fault["fault"])]
        fields[place] = original
        mended[line] = b'"' + b'","'.join(fields) + b'"'
    kept = [mended.get(number, line) for number, line in enumerate(lines)]
    assert [line for line in kept if line is not None] == lines_of(sound, table)


@pytest.mark.parametrize("part", TRACING_FILES)
def test_mended_sequences_are_the_sound_ones(sound: Path, corrupted: Path, part: str) -> None:
    table = f"kt/simulated_{part}.csv"
    lines = lines_of(corrupted, table)
    assert lines != lines_of(sound, table)
    for fault in faults(corrupted, f"simulated_{part}"):
        line = int(str(fault["line"])) - 1
        original = str(fault["original"]).encode()
        assert lines[line] != original
        lines[line] = original
    assert lines == lines_of(sound, table)


def test_every_kind_of_fault_is_injected_at_the_share_asked_for(corrupted: Path) -> None:
    kinds = {
        str(fault["fault"]) for name in recorded(corrupted) for fault in faults(corrupted, name)
    }
    assert kinds == {
        "missing_column", "surplus_column", "bad_number", "bad_date", "bad_encoding", "nul_byte",
        "duplicated_key", "wrong_length", "bad_response", "missing_skill",
    }  # fmt: skip
    rows = len(lines_of(corrupted, "oulad/studentAssessment.csv"))
    assert len(faults(corrupted, "studentAssessment")) == pytest.approx(0.1 * rows, rel=0.2)


def test_faults_do_not_depend_on_the_size_of_a_cohort(
    corrupted: Path, tmp_path: Path, digests_of: Callable[[Path], dict[str, str]]
) -> None:
    simulate(SimulationSettings(**SIZE, corruption=0.1), tmp_path / "data", learners_at_once=999)
    assert digests_of(tmp_path / "data") == digests_of(corrupted)


def test_without_corruption_there_is_no_fault(sound: Path) -> None:
    assert recorded(sound) == []
