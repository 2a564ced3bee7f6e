"""``learnloop gc``: drop old runs and what only they need."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.cli.output import format_bytes, print_json


def gc(
    keep_days: Annotated[float, typer.Option(min=0, help="Keep runs younger than this.")] = 30.0,
    keep_runs: Annotated[int, typer.Option(min=0, help="Keep each pipeline's last runs.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove runs that nobody keeps, and artifacts that no kept run needs."""
    from learnloop.garbage import collect_garbage
    from learnloop.settings import load_settings

    collected = collect_garbage(
        load_settings(), keep_days=keep_days, keep_runs=keep_runs, dry_run=dry_run
    )
    if json:
        print_json(vars(collected))
        return
    verb = "would free" if dry_run else "freed"
    print(
        f"{collected.runs} runs and {collected.executions} executions: {verb} "
        f"{format_bytes(collected.bytes)}."
    )
