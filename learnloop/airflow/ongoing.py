"""A run as its tasks see it: how it goes, where things are, who watches.

In an Airflow worker a task makes this for itself, and what it collects goes when the task ends.
Where all tasks of a run share one process (:mod:`learnloop.airflow.runner`), they share this too.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from learnloop.airflow.form import read_options
from learnloop.airflow.run_id import ledger_run_id
from learnloop.errors import LearnLoopError
from learnloop.runner import NobodyWatches, RunOptions, Watcher
from learnloop.settings import Settings, load_settings

if TYPE_CHECKING:
    from learnloop.step import StepResult


@dataclass(frozen=True)
class OngoingRun:
    """A run of which tasks are being executed.

    Args:
        options: How to run; the run's id in the ledger among them.
        settings: Where things are.
        watcher: Is told how the run goes.
        results: Takes the result by step.
        errors: Takes the error by step.
        cancelled: Takes the step that was running when a person stopped the run.
    """

    options: RunOptions
    settings: Settings
    watcher: Watcher
    results: dict[str, StepResult] = field(default_factory=dict)
    errors: dict[str, LearnLoopError] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)


shared_run: ContextVar[OngoingRun | None] = ContextVar("shared_run", default=None)
"""The run whose tasks share this process, if they do."""


def ongoing_run(context: Mapping[str, Any]) -> OngoingRun:
    """Find the run that a task is part of.

    Args:
        context: Airflow's context of the task.
    """
    shared = shared_run.get()
    if shared is not None:
        return shared
    dag_run = context["dag_run"]
    options = read_options(context, ledger_run_id(dag_run.dag_id, dag_run.run_id))
    return OngoingRun(options, load_settings(), NobodyWatches())
