"""The command says what it wrote, and refuses in the framework's words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from learnloop.errors import UsageError
from simulator.command import simulate_command

APP = typer.Typer()
APP.command("simulate")(simulate_command)
RUNNER = CliRunner()


def test_it_says_what_it_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    done = RUNNER.invoke(APP, [str(folder), "--attempts", "2_000", "--corruption", "0.05"])
    assert done.exit_code == 0
    first, *places = done.stdout.splitlines()
    assert first.startswith("2,000 attempts of 62 learners, ")
    assert "Malformed on purpose: " in first
    assert places == [
        f"  oulad:    {folder}/oulad",
        f"  tracing:  {folder}/kt",
        f"  events:   {folder}/attempts",
        f"  truth:    {folder}/truth",
    ]


def test_it_prints_one_object_for_scripts(tmp_path: Path) -> None:
    done = RUNNER.invoke(APP, [str(tmp_path / "data"), "--attempts", "1000", "--json"])
    told = json.loads(done.stdout)
    assert told.pop("seconds") > 0
    assert told == {
        "folder": str(tmp_path / "data"),
        "learners": 31,
        "enrolments": told["enrolments"],
        "submissions": told["submissions"],
        "clicks": told["clicks"],
        "attempts": 1_000,
        "faults": 0,
    }


def test_every_switch_reaches_the_settings(tmp_path: Path) -> None:
    switches = "--attempts 3000 --learners 50 --seed 9 --skills 12 --drift 0.5 --drift-from 2014B"
    switches += " --bias 0.3 --leak --corruption 0.01 --learners-at-once 7 --threads 1"
    RUNNER.invoke(APP, [str(tmp_path / "data"), *switches.split()], catch_exceptions=False)
    truth = json.loads((tmp_path / "data" / "truth" / "parameters.json").read_text())
    assert truth["settings"] == {
        "attempts": 3_000,
        "learners": 50,
        "seed": 9,
        "skills": 12,
        "drift": 0.5,
        "drift_from": "2014B",
        "bias": 0.3,
        "leak": True,
        "corruption": 0.01,
    }


def test_a_refusal_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        RUNNER.invoke(APP, [str(tmp_path), "--attempts", "10"], catch_exceptions=False)
    assert str(refused.value) == (
        "A setting is out of its range.\n"
        "  where:    attempts\n"
        "  expected: 1,000 to 100,000,000\n"
        "  received: 10\n"
        "  next:     learnloop simulate --help"
    )


FULL = """
import resource, signal, sys
from pathlib import Path
from learnloop.errors import LearnLoopError
from simulator.command import simulate_command
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    simulate_command(Path(sys.argv[1]), 20_000)
except LearnLoopError as fault:
    print(fault)
    sys.exit(fault.exit_code)
"""


def test_a_disk_that_takes_no_more_is_a_fault_that_leaves_nothing(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "data")], capture_output=True, text=True
    )
    assert told.returncode == 3
    assert told.stdout == (
        "The simulated files could not be written; nothing was left behind.\n"
        f"  where:    {tmp_path / 'data'}\n"
        "  received: File too large\n"
        "  next:     Make room or name another folder, then simulate again.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_help_loads_no_numerical_library() -> None:
    asked = (
        "import sys, simulator.command; print({'numpy', 'pyarrow', 'learnloop'} & {*sys.modules})"
    )
    told = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "set()"
