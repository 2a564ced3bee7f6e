"""``learnloop runs``: the runs there were."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.cli.output import format_moment, format_seconds, print_json, print_table


def runs(
    pipeline: Annotated[str, typer.Argument(help="Only runs of this pipeline.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most runs to list.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List runs, newest first."""
    from learnloop.ledger import open_ledger
    from learnloop.settings import load_settings

    found = open_ledger(load_settings().ledger_url).runs(pipeline or None, limit)
    if json:
        print_json([vars(run) for run in found])
        return
    print_table(
        ("run", "pipeline", "status", "started", "time", "runner", "by", "cause"),
        [
            (
                run.id,
                run.pipeline,
                run.status,
                format_moment(run.started),
                format_seconds(run.seconds) if run.ended else "",
                run.runner,
                run.user,
                run.cause,
            )
            for run in found
        ],
    )
