"""``make loop``: the whole turn, told in order, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
TOLD = [
    "RabbitMQ", "Kafka", "trained", "champion", "server", "listener",
    "practice", "practice", "practice", "practice", "monitor",
    "drift", "collected", "monitor", "request", "policy", "run", "run", "champion", "served",
]  # fmt: skip


def start(folder: Path) -> subprocess.Popen[str]:
    """Start it, with all temporary folders in one."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.loop"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def left_behind(folder: Path) -> list[str]:
    """What is left of a loop: its files, and the processes that had its temporary folder."""
    found = [path.name for path in folder.iterdir()]
    for process in psutil.process_iter(["name", "environ", "status"]):
        told = process.info
        is_there = told["status"] != psutil.STATUS_ZOMBIE
        if is_there and (told["environ"] or {}).get("TMPDIR") == str(folder):
            found.append(told["name"])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_turn_ends_with_the_new_version_in_service(tmp_path: Path) -> None:
    with start(tmp_path) as loop:
        out, err = loop.communicate(timeout=1100)
    assert loop.returncode == 0, out + err
    lines = [line.split(maxsplit=3) for line in out.splitlines()]
    assert [line[2] for line in lines] == TOLD, out
    said = [line[3] for line in lines]
    assert said[10].endswith("All is as usual.") or "lies" in said[10]
    assert said[14].endswith("asked by monitor")
    assert said[15].startswith("Run: ")
    run = said[16].removesuffix(", on this machine")
    assert said[14].startswith(run.removeprefix("retrain-"))
    assert said[17] == f"{run} is done"
    assert said[18].startswith("Version 2 is in service and was blessed with an AUC of ")
    assert said[19] == "version 2 answers"
    assert left_behind(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_that_is_ended_leaves_nothing(tmp_path: Path) -> None:
    with start(tmp_path) as loop:
        assert loop.stdout is not None
        for line in loop.stdout:
            if "Kafka" in line:
                break
        time.sleep(1.0)
        loop.send_signal(signal.SIGTERM)
        _, err = loop.communicate(timeout=300)
    assert loop.returncode == 130
    assert "The loop was ended before its turn was completed." in err
    assert left_behind(tmp_path) == []
