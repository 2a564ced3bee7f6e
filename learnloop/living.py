"""Telling a run that goes on from one whose process has died without a word.

A run that one process executes, with either runner, holds the folder of its logs while it lives.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from learnloop.airflow.run_id import is_of_airflow
from learnloop.holding import hold, is_held
from learnloop.ledger import Ledger
from learnloop.settings import Settings
from learnloop.steplog import log_folder
from learnloop.store.local import explain_disk_faults


def abandon_dead_runs(ledger: Ledger, settings: Settings) -> None:
    """Record as failed the runs of this machine whose process has died without a word.

    Those are the runs that one process executes, with either runner; of the others Airflow tells.

    Args:
        ledger: The ledger.
        settings: Names the home folder; runs of another home are left alone.
    """
    for run in ledger.running(socket.gethostname()):
        folder = log_folder(settings, run.id)
        if not is_of_airflow(run.id) and folder.is_dir() and not is_held(folder):
            ledger.abandon_run(run.id)


@contextlib.contextmanager
def living_run(ledger: Ledger, settings: Settings, run_id: str) -> Iterator[None]:
    """Let others see, for the length of a ``with`` block, that this process executes a run.

    Args:
        ledger: The ledger, in which the runs of processes that have died are ended first.
        settings: Names the home folder.
        run_id: The run, not yet on record.
    """
    abandon_dead_runs(ledger, settings)
    folder = log_folder(settings, run_id)
    with contextlib.ExitStack() as stack:
        with explain_disk_faults(folder):
            stack.enter_context(hold(folder))
        yield
