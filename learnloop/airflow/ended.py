"""Ending a run of Airflow's in the ledger: how it ended is read from how its steps did."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from learnloop.airflow.run_id import ledger_run_id
from learnloop.errors import LearnLoopError, UsageError
from learnloop.ledger import Ledger, open_ledger
from learnloop.settings import load_settings

logger = logging.getLogger(__name__)


def end_run(dag_id: str, run_id: str, unfinished: str) -> None:
    """End an Airflow run in the ledger, if it is one of ours.

    Airflow calls this from its scheduler; a ledger that cannot be reached is logged there.

    Args:
        dag_id: The DAG.
        run_id: Airflow's id of the run.
        unfinished: The run's status if steps did not end and none failed or refused.
    """
    try:
        ledger = open_ledger(load_settings().ledger_url)
        name = ledger_run_id(dag_id, run_id)
        if _is_known(ledger, name):
            statuses = [execution.status for execution in ledger.executions(name)]
            if "running" in statuses and unfinished == "failed":
                ledger.abandon_run(name)
            else:
                ledger.end_run(name, run_status(statuses, unfinished))
    except LearnLoopError as fault:
        logger.error("Run %s could not be ended in the ledger: %s", run_id, fault)


def run_status(steps: Iterable[str], unfinished: str) -> str:
    """Tell how a run ended from how its steps did.

    Args:
        steps: The steps' statuses.
        unfinished: What to say if steps did not end and none failed or refused.

    Example:
        >>> run_status(["done", "refused", "pending"], "failed")
        'refused'
    """
    found = set(steps)
    for status in ("cancelled", "failed", "refused"):
        if status in found:
            return status
    return "done" if found <= {"done", "cached"} else unfinished


def _is_known(ledger: Ledger, run_id: str) -> bool:
    try:
        return ledger.run(run_id).id == run_id
    except UsageError:
        return False
