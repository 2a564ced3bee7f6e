"""``learnloop simulate``: the command line of the simulator.

The only module here that knows of the framework, and of it only the error that it shows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from simulator.settings import (
    PRESENTATIONS,
    SimulationError,
    SimulationSettings,
    SimulationSummary,
)
from simulator.simulation import LEARNERS_AT_ONCE, THREADS, Progress, simulate


def simulate_command(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.", show_default=False)],
    attempts: Annotated[
        int, typer.Option(help="Attempts in all, 1_000 to 100_000_000.", metavar="COUNT")
    ] = 100_000,
    learners: Annotated[
        int | None,
        typer.Option(
            help="Learners who make them. Without it, one per 32 attempts.",
            metavar="COUNT",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.", metavar="NUMBER")] = 7,
    skills: Annotated[int, typer.Option(help="Skills practised.", metavar="COUNT")] = 40,
    drift: Annotated[
        float,
        typer.Option(
            help="0 to 1: weaker learners, harder items and assessments, assessments dropped.",
            metavar="STRENGTH",
        ),
    ] = 0.0,
    drift_from: Annotated[
        str,
        typer.Option(
            help="First presentation that drifts: " + ", ".join(PRESENTATIONS) + ".",
            metavar="PRESENTATION",
            autocompletion=lambda: list(PRESENTATIONS),
        ),
    ] = PRESENTATIONS[-1],
    bias: Annotated[
        float, typer.Option(help="0 to 1: women marked down at equal ability.", metavar="STRENGTH")
    ] = 0.0,
    leak: Annotated[
        bool, typer.Option("--leak", help="Add columns that give the label away.")
    ] = False,
    corruption: Annotated[
        float,
        typer.Option(help="0 to 0.5: share of text rows made malformed.", metavar="SHARE"),
    ] = 0.0,
    learners_at_once: Annotated[
        int, typer.Option(help="Governs memory, never the data.", metavar="COUNT", min=1)
    ] = LEARNERS_AT_ONCE,
    threads: Annotated[
        int, typer.Option(help="Govern speed and memory, never the data.", metavar="COUNT", min=1)
    ] = THREADS,
    stream: Annotated[
        str,
        typer.Option(help="Then tell it all to Kafka as live events.", metavar="HOST:PORT"),
    ] = "",
    rate: Annotated[
        float, typer.Option(help="Events a second; 0: as fast as they are taken.", min=0)
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Simulate learners, with the truth beside them.

    Writes OULAD's files (oulad/), three-line knowledge-tracing files (kt/), a table of events
    (attempts/) and what really governs them (truth/: abilities, mastery, probabilities,
    parameters, and each injected fault by file and line).

    For example:

        learnloop simulate data/simulated

        learnloop simulate data/hard --attempts 1_000_000 --drift 0.5 --corruption 0.01

        learnloop simulate data/live --stream 127.0.0.1:9092 --rate 500
    """
    try:
        settings = SimulationSettings(
            attempts, learners, seed, skills, drift, drift_from, bias, leak, corruption
        )
        with _progress(settings.attempts) as progress:
            summary = simulate(
                settings, folder, progress, learners_at_once=learners_at_once, threads=threads
            )
    except SimulationError as refused:
        from learnloop.errors import UsageError

        raise UsageError(
            refused.what,
            where=refused.where,
            expected=refused.expected,
            received=refused.received,
            next=refused.next,
        ) from None
    except OSError as fault:
        from learnloop.errors import LearnLoopError

        raise LearnLoopError(
            "The simulated files could not be written; nothing was left behind.",
            where=folder,
            received=fault.strerror or fault,
            next="Make room or name another folder, then simulate again.",
        ) from fault
    if as_json:
        typer.echo(json.dumps(asdict(summary) | {"folder": str(folder)}))
    else:
        typer.echo(_said(summary))
    if stream:
        from messaging.events.command import stream as stream_events

        stream_events(folder, stream, rate=rate, live=True, as_json=as_json)


def _said(summary: SimulationSummary) -> str:
    """Return the summary as a person reads it."""
    faults = f" Malformed on purpose: {summary.faults:,} rows." if summary.faults else ""
    return (
        f"{summary.attempts:,} attempts of {summary.learners:,} learners, "
        f"{summary.enrolments:,} enrolments, {summary.submissions:,} submissions and "
        f"{summary.clicks:,} rows of clicks in {summary.seconds:.1f} s.{faults}\n"
        f"  oulad:    {summary.folder / 'oulad'}\n"
        f"  tracing:  {summary.folder / 'kt'}\n"
        f"  events:   {summary.folder / 'attempts'}\n"
        f"  truth:    {summary.folder / 'truth'}"
    )


@contextmanager
def _progress(attempts: int) -> Iterator[Progress | None]:
    """Show a bar on a terminal; elsewhere nothing, because the summary says it all."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("attempts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("attempts", total=attempts)
        yield lambda done, total: bar.update(task, completed=done, total=total)
