"""``learnloop logs``: what a step wrote down."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def logs(
    run: Annotated[str, typer.Argument(help="The run's id, its beginning, or 'latest'.")],
    step: Annotated[str, typer.Argument(help="The step's name.")],
) -> None:
    """Print the log of a step."""
    from learnloop.ledger import open_ledger
    from learnloop.ledger.finding import find_execution
    from learnloop.settings import load_settings
    from learnloop.steplog import log_file

    settings = load_settings()
    execution = find_execution(open_ledger(settings.ledger_url), run, step)
    path = log_file(settings, execution.run_id, step)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text:
        sys.stdout.write(text)
    else:
        print(
            f"Step '{step}' of run {execution.run_id} wrote nothing on this machine.",
            file=sys.stderr,
        )
