"""``learnloop why``: what made a step run, or let it be reused."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.cli.output import print_json


def why(
    run: Annotated[str, typer.Argument(help="The run's id, its beginning, or 'latest'.")],
    step: Annotated[str, typer.Argument(help="The step's name.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell why a step ran or was reused: what changed since it was last executed."""
    from learnloop.explain import explain_step
    from learnloop.ledger import open_ledger
    from learnloop.ledger.finding import find_execution
    from learnloop.settings import load_settings

    ledger = open_ledger(load_settings().ledger_url)
    explanation = explain_step(find_execution(ledger, run, step), ledger)
    if json:
        print_json(vars(explanation))
        return
    print(explanation.sentence)
    for change in explanation.changes:
        print(f"  {change}")
