"""What the framework costs: a thousand steps that do nothing, executed, then from the cache.

The store's own work (making folders, writing, digesting, renaming, verifying) is measured alone, on
the same files, and told apart. Times are the best of some repetitions; processor time stands beside
wall time, since a shared machine disturbs the one and not the other. What LearnLoop promises is at
most 15 ms for a step that is executed and 5 ms for one that is not, beyond the store's own work.

    python -m benchmarks.overhead
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from learnloop.artifacts import Evaluation
from learnloop.component import Output, component
from learnloop.pipeline import pipeline
from learnloop.runner import run_pipeline
from learnloop.settings import Settings
from learnloop.store import open_store

NODES = 1000
REPETITIONS = 3


@component
def do_nothing(document: Output[Evaluation], *, number: int) -> None:
    """Write a document of one number: a step must leave something."""
    document.write({"number": number})


@pipeline
def idle(nodes: int = NODES) -> None:
    """Do nothing, often."""
    for number in range(nodes):
        do_nothing(number=number)


def measure(nodes: int = NODES, repetitions: int = REPETITIONS) -> dict[str, float]:
    """Measure the framework's cost.

    Args:
        nodes: Steps in the pipeline.
        repetitions: Each time is the best of so many.

    Returns:
        Milliseconds per step by name: ``executed`` and ``cached`` whole runs, ``publish`` and
        ``verify`` the store alone, ``…_overhead`` the differences; each with ``_wall`` or ``_cpu``.
    """
    best: dict[str, float] = {}
    for _ in range(repetitions):
        for name, took in _measure_once(nodes).items():
            best[name] = min(best.get(name, took), took)
    for kind in ("wall", "cpu"):
        best[f"executed_overhead_{kind}"] = best[f"executed_{kind}"] - best[f"publish_{kind}"]
        best[f"cached_overhead_{kind}"] = best[f"cached_{kind}"] - best[f"verify_{kind}"]
    return {name: round(value, 3) for name, value in sorted(best.items())}


def _measure_once(nodes: int) -> dict[str, float]:
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), parallelism=1)
        _run(settings, 1, "done")  # the ledger's tables are made once, not at each run
        phases: dict[str, Callable[[], None]] = {
            "publish": lambda: _publish(settings, nodes),
            "verify": lambda: _verify(settings),
            "executed": lambda: _run(settings, nodes, "done"),
            "cached": lambda: _run(settings, nodes, "cached"),
        }
        for name, work in phases.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            times[f"{name}_wall"] = (time.perf_counter() - wall) / nodes * 1000
            times[f"{name}_cpu"] = (time.process_time() - cpu) / nodes * 1000
    return times


def _run(settings: Settings, nodes: int, status: str) -> None:
    ended = run_pipeline(idle, {"nodes": nodes}, settings=settings)
    statuses = {result.status for result in ended.results.values()}
    assert statuses <= {status, "cached"} and status in statuses, ended.error


def _publish(settings: Settings, nodes: int) -> None:
    """What a step has the store do, with the same files."""
    store = open_store(str(settings.home_folder / "alone"), "")
    for number in range(nodes):
        execution = f"idle/do_nothing/{number}"
        staged = store.stage(execution)
        Evaluation.create(staged / "document").write({"number": number})
        store.publish(execution, staged)


def _verify(settings: Settings) -> None:
    """What a hit has the store do."""
    store = open_store(str(settings.home_folder / "alone"), "")
    manifests = Path(settings.home_folder / "alone").glob("artifacts/*/*/*/manifest.json")
    for manifest in manifests:
        execution = "/".join(manifest.parent.parts[-3:])
        store.verify(execution, hashlib.sha256(manifest.read_bytes()).hexdigest())


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
