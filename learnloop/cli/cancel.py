"""``learnloop cancel``: ask a run to stop."""

from __future__ import annotations

from typing import Annotated

import typer


def cancel(
    run: Annotated[str, typer.Argument(help="The run's id, its beginning, or 'latest'.")],
) -> None:
    """Ask a running run to stop; what is done stays done."""
    from learnloop.ledger import open_ledger
    from learnloop.settings import load_settings

    ledger = open_ledger(load_settings().ledger_url)
    found = ledger.run(run)
    ledger.request_cancel(found.id)
    print(f"{found.id} will stop at its next step or progress report.")
