"""Measuring a command as a whole process: wall seconds, processor seconds, peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Cost:
    """What a process cost.

    Args:
        wall_seconds: From its start to its end.
        cpu_seconds: User and system time of it and its children.
        peak_mib: The largest resident set of it or a child, in MiB.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


def run_measured(command: list[str], environment: dict[str, str], log: Path) -> Cost:
    """Run a command to its end.

    Args:
        command: The command line.
        environment: Added to this process's environment.
        log: Where its output goes.

    Returns:
        What it cost.

    Raises:
        SystemExit: It failed; its output is shown.
    """
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{log.read_text(errors='replace')[-3000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(round(wall, 3), round(cpu, 3), round(usage.ru_maxrss / 1024, 1))


def summarise(costs: list[Cost]) -> dict[str, Any]:
    """Give the median of each figure, and all of them."""
    return {
        **{name: median(getattr(cost, name) for cost in costs) for name in asdict(costs[0])},
        "runs": [asdict(cost) for cost in costs],
    }


def ratio(ours: list[Cost], theirs: list[Cost], figure: str) -> float:
    """The median of the ratios pair by pair, which holds when the machine's speed drifts."""
    pairs = zip(ours, theirs, strict=True)
    return round(median(getattr(a, figure) / getattr(b, figure) for a, b in pairs), 3)
