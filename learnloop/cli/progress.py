"""How a run looks while it goes: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learnloop.cli.output import STYLES, format_seconds
from learnloop.pipeline import Graph
from learnloop.runner import Watcher

if TYPE_CHECKING:
    from rich.table import Table

REFRESHES_PER_SECOND = 4


def make_watcher() -> Watcher:
    """Choose how to show a run: standard error is a terminal or it is not."""
    return LiveTable() if sys.stderr.isatty() else PlainLines()


class PlainLines:
    """One line when a step begins and one when it ends, on standard error."""

    def run_started(self, run_id: str, graph: Graph) -> None:
        """See :class:`learnloop.runner.Watcher`."""
        self._print(f"run {run_id}: {len(graph.nodes)} steps of {graph.pipeline}")

    def step_started(self, step: str) -> None:
        """See :class:`learnloop.runner.Watcher`."""

    def step_progressed(self, step: str, text: str, numbers: Mapping[str, float]) -> None:
        """See :class:`learnloop.runner.Watcher`."""

    def step_ended(self, step: str, status: str, seconds: float) -> None:
        """See :class:`learnloop.runner.Watcher`."""
        self._print(f"{step:<24} {status:<10} {format_seconds(seconds):>12}")

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


@dataclass
class _Row:
    status: str = "pending"
    began: float = 0.0
    seconds: float = 0.0
    progress: str = ""


class LiveTable:
    """A table of the steps that is redrawn as they go, on standard error."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._lock = threading.Lock()
        self._title = ""

    def run_started(self, run_id: str, graph: Graph) -> None:
        """See :class:`learnloop.runner.Watcher`."""
        from rich.console import Console
        from rich.live import Live

        self._title = run_id
        self._rows = {name: _Row() for name in graph.nodes}
        self._live = Live(
            console=Console(stderr=True),
            get_renderable=self._draw,
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=False,
        )
        self._live.start()

    def step_started(self, step: str) -> None:
        """See :class:`learnloop.runner.Watcher`."""
        with self._lock:
            self._rows[step] = _Row("running", time.perf_counter())

    def step_progressed(self, step: str, text: str, numbers: Mapping[str, float]) -> None:
        """See :class:`learnloop.runner.Watcher`."""
        with self._lock:
            self._rows[step].progress = _describe(text, numbers)

    def step_ended(self, step: str, status: str, seconds: float) -> None:
        """See :class:`learnloop.runner.Watcher`."""
        with self._lock:
            row = self._rows[step]
            row.status, row.seconds = status, seconds
            ended = all(r.status not in ("pending", "running") for r in self._rows.values())
        if ended:
            self._live.stop()

    def _draw(self) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table("step", "status", "time", "", box=SIMPLE_HEAD, title=self._title)
        with self._lock:
            for name, row in self._rows.items():
                running = row.status == "running"
                seconds = time.perf_counter() - row.began if running else row.seconds
                table.add_row(
                    name,
                    Text(row.status, STYLES[row.status]),
                    "" if row.status == "pending" else format_seconds(seconds),
                    row.progress,
                )
        return table


def _describe(text: str, numbers: Mapping[str, float]) -> str:
    """Tell progress in a few words: ``epoch 3/40 · 120,000 rows/s · loss 0.41``."""
    rest = dict(numbers)
    words = text
    if "done" in rest:
        total = rest.pop("total", None)
        words += f" {rest.pop('done'):g}" + (f"/{total:g}" if total is not None else "")
    if "rows_per_second" in rest:
        words += f" · {rest.pop('rows_per_second'):,.0f} rows/s"
    return words + "".join(f" · {name.replace('_', ' ')} {v:.4g}" for name, v in rest.items())
