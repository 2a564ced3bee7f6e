"""A simulated folder appears whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator import SimulationError, SimulationSettings, simulate
from simulator.folder import appearing

SMALL = SimulationSettings(attempts=1_000)
LONG = (
    "import sys; from pathlib import Path; from simulator import SimulationSettings, simulate;"
    "simulate(SimulationSettings(attempts=50_000_000), Path(sys.argv[1]), threads=1)"
)


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(SimulationError) as refused:
        simulate(SMALL, folder)
    assert str(refused.value) == (
        f"The folder to simulate into is not empty. {folder}: expected a new or empty folder, "
        f"received a folder of 1 entries. Name another folder, or remove this one: rm -r {folder}"
    )
    assert (folder / "mine.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("precious")
    with pytest.raises(SimulationError, match="received a file"):
        simulate(SMALL, tmp_path / "data")


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attempts", "kt", "oulad", "truth"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SMALL, tmp_path / "data", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with appearing(tmp_path / "data") as private:
        (private / "started").write_text("")
        with pytest.raises(SimulationError) as refused:
            simulate(SMALL, tmp_path / "data")
    assert str(refused.value) == (
        f"Another simulation is writing this folder. {tmp_path / 'data'}: expected one writer at "
        f"a time, received {tmp_path / '.data.simulating'} is locked. "
        "Wait until it has finished, or name another folder."
    )
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["started"]


def test_a_killed_simulation_leaves_nothing_half_written(tmp_path: Path) -> None:
    folder, private = tmp_path / "data", tmp_path / ".data.simulating"
    process = subprocess.Popen([sys.executable, "-c", LONG, str(folder)])
    try:
        deadline = time.monotonic() + 60
        while not (private / "oulad" / "vle.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert private.exists()
    assert not folder.exists()

    simulate(SMALL, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert sorted(path.name for path in folder.iterdir()) == ["attempts", "kt", "oulad", "truth"]
