"""The page of a run: what was done, how it went, what came of it, on one self-contained page.

``view`` says what is shown, ``collect`` gathers it from ledger and artifacts, ``page`` renders it;
``graph`` and ``charts`` draw.
"""

from __future__ import annotations

import os
from pathlib import Path

from learnloop.report.page import render_report
from learnloop.report.view import RunView
from learnloop.settings import Settings

__all__ = ["RunView", "render_report", "report_file", "write_report"]


def report_file(settings: Settings, run_id: str) -> Path:
    """Name the page of a run.

    Args:
        settings: Names the home folder.
        run_id: The run's whole id.
    """
    return settings.home_folder / "reports" / f"{run_id}.html"


def write_report(run_id: str, settings: Settings) -> Path:
    """Write the page of a run, as the run is now.

    Args:
        run_id: The run's id, a beginning of it that is unique, or ``latest``.
        settings: Where ledger, store and logs are.

    Returns:
        The page, in the folder ``reports`` of the home folder.

    Raises:
        UsageError: There is no such run.
    """
    from learnloop.report.collect import collect_run
    from learnloop.store.local import explain_disk_faults

    view = collect_run(run_id, settings)
    page = report_file(settings, view.run.id)
    unfinished = page.with_suffix(f".{os.getpid()}.part")
    with explain_disk_faults(page):
        page.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(render_report(view), encoding="utf-8")
        unfinished.replace(page)
    return page
