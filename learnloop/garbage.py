"""Garbage collection: what a kept run made or reused stays, the rest goes.

The ledger forgets first and the store is swept after, so that a kill between the two leaves files
that the next collection finds, and never a record of files that are gone. What the store holds is
listed before both, so that what a run publishes meanwhile is not in question.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from learnloop.errors import CorruptArtifact, UsageError
from learnloop.ledger import Ledger, RunRecord, open_ledger
from learnloop.living import abandon_dead_runs
from learnloop.report import report_file
from learnloop.settings import Settings
from learnloop.steplog import log_folder
from learnloop.store import open_store
from learnloop.store.local import is_abandoned

ABANDONED_SECONDS = 24 * 3600.0
"""A step's folder that no process of this machine holds may, if younger, be another machine's."""


@dataclass(frozen=True)
class Collected:
    """What a collection removed, or would remove.

    Args:
        runs: Runs forgotten.
        executions: Published executions removed.
        bytes: Bytes they held.
    """

    runs: int
    executions: int
    bytes: int


def collect_garbage(
    settings: Settings,
    *,
    keep_days: float,
    keep_runs: int,
    dry_run: bool,
) -> Collected:
    """Remove old runs and artifacts that no kept run needs.

    Other packages name runs that must stay, however old: functions of the settings that give their
    ids, by the entry point ``learnloop.kept_runs``.

    Args:
        settings: Where things are.
        keep_days: Runs younger than this are kept.
        keep_runs: So many last runs of each pipeline are kept.
        dry_run: Whether to change nothing.

    Returns:
        What was, or would be, removed.

    Raises:
        UsageError: The store belongs to another ledger, by which it would be emptied.
    """
    ledger = open_ledger(settings.ledger_url)
    abandon_dead_runs(ledger, settings)
    store = open_store(settings.store_location, str(settings.home_folder))
    young = datetime.now(UTC) - timedelta(days=keep_days)
    last = _last_runs(ledger, keep_runs)
    kept = _kept_runs(settings)
    published = {one.rpartition("/")[2]: one for one in store.executions()}
    if published and not published.keys() & ledger.execution_ids():
        raise UsageError(
            "The ledger knows nothing of what the store holds: all of it would go.",
            where=settings.store_location,
            expected="the ledger of the runs that filled this store",
            received=ledger.location,
            next="set LEARNLOOP_LEDGER, or empty the store by hand",
        )

    def keep(run: RunRecord) -> bool:
        return run.started > young or run.id in last or run.id in kept

    forgotten, needed = ledger.forget(keep, dry_run=dry_run)
    unneeded = sorted(published[one] for one in published.keys() - needed)
    freed = 0
    for execution in unneeded:
        with contextlib.suppress(CorruptArtifact):  # its size is not known, but it goes too
            freed += store.size(execution)
        if not dry_run:
            store.delete(execution)
    if not dry_run:
        store.remove_abandoned(ABANDONED_SECONDS)
        _remove_old_scratch(settings)
        for run_id in forgotten:
            shutil.rmtree(log_folder(settings, run_id), ignore_errors=True)
            report_file(settings, run_id).unlink(missing_ok=True)
    return Collected(len(forgotten), len(unneeded), freed)


def _kept_runs(settings: Settings) -> set[str]:
    points = importlib.metadata.entry_points(group="learnloop.kept_runs")
    return {run_id for point in points for run_id in point.load()(settings)}


def _last_runs(ledger: Ledger, count: int) -> set[str]:
    kept: dict[str, list[str]] = {}
    for run in ledger.runs(limit=1_000_000):
        kept.setdefault(run.pipeline, []).append(run.id)
    return {run_id for ids in kept.values() for run_id in ids[:count]}


def _remove_old_scratch(settings: Settings) -> None:
    for folder in (settings.home_folder / "scratch").glob("*"):
        if is_abandoned(folder, ABANDONED_SECONDS):
            shutil.rmtree(folder, ignore_errors=True)
