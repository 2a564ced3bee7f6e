"""Simulates learners into a folder: cohorts in, files out, bounded memory between.

Cohorts are simulated on a few threads and written in the order of learners by one; at most as many
as there are threads are held at a time. Nothing of the data depends on how large a cohort is or
how many threads there are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.folder import appearing
from simulator.settings import SimulationSettings, SimulationSummary

if TYPE_CHECKING:
    from simulator.cohort import Cohort, World

LEARNERS_AT_ONCE = 4_096
THREADS = 2

Progress = Callable[[int, int], None]
"""Called with the attempts written and the attempts asked for."""


def simulate(
    settings: SimulationSettings,
    folder: Path,
    progress: Progress | None = None,
    *,
    learners_at_once: int = LEARNERS_AT_ONCE,
    threads: int = THREADS,
) -> SimulationSummary:
    """Write simulated learners, and the truth about them, into a new folder.

    Args:
        settings: What to simulate; equal settings give equal files, byte for byte.
        folder: A new or empty folder. It appears when everything is written.
        progress: Called after every cohort.
        learners_at_once: Learners of one cohort; governs memory, never the data.
        threads: Cohorts simulated at a time; governs memory and speed, never the data.

    Returns:
        What was written.

    Raises:
        SimulationError: If the folder holds something, or is being written.
    """
    from simulator.cohort import World

    started = time.perf_counter()
    world = World.of(settings)
    with appearing(folder) as private:
        counts = _write(world, private, progress, learners_at_once, threads)
    return SimulationSummary(
        folder=folder,
        learners=settings.learner_count,
        attempts=settings.attempts,
        seconds=time.perf_counter() - started,
        **counts,
    )


def _write(
    world: World,
    folder: Path,
    progress: Progress | None,
    learners_at_once: int,
    threads: int,
) -> dict[str, int]:
    """Write every cohort; return the rows written."""
    from simulator.faults import FaultLog
    from simulator.oulad_layout import OuladLayout
    from simulator.tracing_layout import TracingLayout
    from simulator.truth_layout import TruthLayout

    with ExitStack() as stack:
        faults = FaultLog(folder / "truth" / "faults", stack)
        oulad = OuladLayout(folder / "oulad", world, faults, stack)
        tracing = TracingLayout(folder, world.settings, faults, stack)
        truth = TruthLayout(folder / "truth", world, stack)
        for cohort in _cohorts(world, learners_at_once, threads):
            for layout in (oulad, tracing, truth):
                layout.write(cohort)
            if progress is not None:
                progress(tracing.events.rows, world.settings.attempts)
    return {
        "enrolments": oulad.info.rows,
        "submissions": oulad.submissions.rows,
        "faults": faults.rows,
        "clicks": sum(file.rows for file in oulad.clicks),
    }


def _cohorts(world: World, learners_at_once: int, threads: int) -> Iterator[Cohort]:
    """Yield the cohorts in order of learner, simulating the next ones meanwhile."""
    from simulator.cohort import Cohort
    from simulator.population import spans

    waiting: deque[Future[Cohort]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="cohort") as pool:
        for span in spans(world.settings, learners_at_once):
            waiting.append(pool.submit(Cohort.of, world, span))
            if len(waiting) == threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
