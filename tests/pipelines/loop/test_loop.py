"""``make loop``: the whole turn, told in order, and nothing left behind."""

from __future__ import annotations

import os
import re
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
BY = {
    "local": (
        r"retrain-(?P<id>\S+), on this machine",
        r"Version 2 is in service and was blessed with an AUC of 0\.\d+ on [\d,]+ rows\.",
    ),
    "airflow": (
        r"knowledge_tracing~retrain-(?P<id>\S+), in Airflow",
        r"version 2, by the DAG that waits for published versions",
    ),
}
"""What is told of the run and of the champion."""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start it, with all temporary folders in one."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.loop", *words],
        cwd=ROOT,
        env={**os.environ, "PATH": programs, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
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
        if is_there and (told["environ"] or {}).get("TMPDIR", "").startswith(str(folder)):
            found.append(told["name"])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("target", BY)
def test_a_turn_ends_with_the_new_version_in_service(target: str, tmp_path: Path) -> None:
    with start(tmp_path, *(["--airflow"] if target == "airflow" else [])) as loop:
        out, err = loop.communicate(timeout=1100)
    assert loop.returncode == 0, out + err
    lines = [line.split(maxsplit=3)[2:] for line in out.splitlines()]
    told = [(what, sentence) for what, sentence in lines if what != "Airflow"]
    assert [what for what, _ in told] == TOLD, out
    request, policy, run, ended, champion, served = [sentence for _, sentence in told[-6:]]
    of_run, of_champion = BY[target]
    found = re.fullmatch(of_run, run)
    assert found, run
    assert re.fullmatch(rf"{found['id']}: (drift|live_quality), asked by monitor", request)
    assert policy.startswith("Run: ")
    assert ended == f"{run.partition(',')[0]} is done"
    assert re.fullmatch(of_champion, champion)
    assert served == "version 2 answers"
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """It can do nothing itself: what watches over it does."""
    with start(tmp_path) as loop:
        assert loop.stdout is not None
        for line in loop.stdout:
            if "Kafka" in line:
                break
        assert "beam.smp" in left_behind(tmp_path)
        loop.kill()
        loop.wait()
        until = time.monotonic() + 60.0
        while left_behind(tmp_path) and time.monotonic() < until:
            time.sleep(0.1)
    assert left_behind(tmp_path) == []
