"""A whole pipeline from ingest to push, process start and imports included, beside by hand.

Beside TFX too, where ``TFX_PYTHON`` names the Python of an environment that has it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import Cost, ratio, run_measured, summarise
from benchmarks.table import write_table

ROOT = Path(__file__).parents[1]
PROJECT = Path(__file__).parent / "project"
TFX_PYTHON = os.environ.get("TFX_PYTHON", "")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}


def measure(rows: int, repeats: int, folder: Path, *, by_hand: bool = True) -> dict[str, Any]:
    """Run both in turn and compare.

    Args:
        rows: Rows of the table.
        repeats: How often each is run.
        folder: For tables and what the runs write.
        by_hand: Whether to run the script by hand too.

    Returns:
        Figures of both, their ratios and a fully cached second run; TFX's where it is there.
    """
    source = folder / f"table-{rows}.csv"
    if not source.exists():
        write_table(source, rows)
    ours: list[Cost] = []
    theirs: list[Cost] = []
    for _ in range(repeats):
        shutil.rmtree(folder / "home", ignore_errors=True)
        shutil.rmtree(folder / "models", ignore_errors=True)
        ours.append(_learnloop(source, folder))
        if by_hand:
            command = [sys.executable, "-m", "benchmarks.by_hand", str(source)]
            theirs.append(run_measured(command, QUIET, folder / "by_hand.log"))
    cached = _learnloop(source, folder)
    result: dict[str, Any] = {"rows": rows, "learnloop": summarise(ours)}
    result["learnloop_cached"] = summarise([cached])
    if theirs:
        result["by_hand"] = summarise(theirs)
        result["ratio_wall"] = ratio(ours, theirs, "wall_seconds")
        result["ratio_cpu"] = ratio(ours, theirs, "cpu_seconds")
    if TFX_PYTHON:
        result["tfx"], result["tfx_cached"] = (summarise([cost]) for cost in _tfx(source, folder))
        result["tfx_ratio_wall"] = round(
            result["tfx"]["wall_seconds"] / result["learnloop"]["wall_seconds"], 3
        )
    return result


def _tfx(source: Path, folder: Path) -> tuple[Cost, Cost]:
    """Run TFX, then again with all in its cache; no more often, since it takes minutes."""
    shutil.rmtree(folder / "tfx", ignore_errors=True)
    command = [TFX_PYTHON, "-m", "benchmarks.with_tfx", str(source), str(folder / "tfx")]
    first, again = (run_measured(command, QUIET, folder / "tfx.log") for _ in range(2))
    return first, again


def _learnloop(source: Path, folder: Path) -> Cost:
    environment = QUIET | {
        "LEARNLOOP_PROJECT": str(PROJECT),
        "LEARNLOOP_HOME": str(folder / "home"),
        "LEARNLOOP_SERVING": str(folder / "models"),
    }
    command = [sys.executable, "-m", "learnloop", "run", "table", "--set", f"source={source}"]
    return run_measured(command, environment, folder / "learnloop.log")
