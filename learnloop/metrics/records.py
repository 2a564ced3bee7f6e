"""Runs and steps, from the ledger: how many ended how, what ended last, what takes how long.

Runs of a pipeline that takes a parameter ``model`` are told apart by it: that the monitor of one
model fails must not hide behind that of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from prometheus_client.core import Metric

from learnloop.ledger import open_ledger
from learnloop.ledger.records import RUN_STATUSES
from learnloop.ledger.tables import executions, runs
from learnloop.metrics.families import gauge, seconds_of
from learnloop.settings import Settings

_KNOWN = sa.select(
    runs.c.pipeline,
    runs.c.parameters["model"].as_string().label("model"),
    runs.c.status,
    runs.c.started,
    runs.c.ended,
).subquery()

_RUNS = sa.select(
    _KNOWN.c.pipeline,
    _KNOWN.c.model,
    _KNOWN.c.status,
    sa.func.count().label("count"),
    sa.func.min(_KNOWN.c.started).label("oldest"),
    sa.func.max(_KNOWN.c.ended).label("ended"),
).group_by(_KNOWN.c.pipeline, _KNOWN.c.model, _KNOWN.c.status)

_STEPS = (
    sa.select(runs.c.pipeline, executions.c.step, executions.c.status, sa.func.count())
    .join(runs, runs.c.id == executions.c.run_id)
    .group_by(runs.c.pipeline, executions.c.step, executions.c.status)
)

_NEWEST = (
    sa.select(
        runs.c.pipeline,
        executions.c.step,
        executions.c.started,
        executions.c.ended,
        sa.func.row_number()
        .over(partition_by=(runs.c.pipeline, executions.c.step), order_by=executions.c.ended.desc())
        .label("age"),
    )
    .join(runs, runs.c.id == executions.c.run_id)
    .where(executions.c.status == "done", executions.c.ended.is_not(None))
    .subquery()
)
_DURATIONS = sa.select(_NEWEST).where(_NEWEST.c.age == 1)


def describe_runs(settings: Settings) -> Iterable[Metric]:
    """Tell of every pipeline's runs and steps.

    Args:
        settings: Names the ledger; where there is none yet, nothing is told.

    Raises:
        LearnLoopError: The ledger's database does not answer.
    """
    if not settings.has_ledger:
        return ()
    with open_ledger(settings.ledger_url).reading() as connection:
        told = connection.execute(_RUNS).all()
        steps = connection.execute(_STEPS).all()
        durations = connection.execute(_DURATIONS).all()
    return (*_tell_runs(told), *_tell_steps(steps, durations))


def _tell_runs(rows: Iterable[Any]) -> Iterator[Metric]:
    labels = ("pipeline", "model")
    counted = gauge("runs", "Runs on record.", *labels, "status")
    ended = gauge(
        "run_last_ended_timestamp_seconds",
        "When the last run that ended so did, in seconds since 1970.",
        *labels,
        "status",
    )
    newest = gauge("run_last_status", "1 for how the run that ended last did.", *labels, "status")
    running = gauge(
        "run_oldest_running_timestamp_seconds",
        "When the oldest run that has not ended began, in seconds since 1970.",
        *labels,
    )
    ends: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        of = (row.pipeline, row.model or "")
        counted.add_metric((*of, row.status), row.count)
        if row.status == "running":
            running.add_metric(of, seconds_of(row.oldest))
        else:
            ends.setdefault(of, {})[row.status] = seconds_of(row.ended)
    for of, moments in ends.items():
        last = max(moments, key=lambda status: moments[status])
        for status, moment in moments.items():
            ended.add_metric((*of, status), moment)
        for status in RUN_STATUSES:
            if status != "running":
                newest.add_metric((*of, status), status == last)
    yield from (counted, ended, newest, running)


def _tell_steps(rows: Iterable[Any], durations: Iterable[Any]) -> Iterator[Metric]:
    counted = gauge("steps", "Attempts at steps on record.", "pipeline", "step", "status")
    for pipeline, step, status, count in rows:
        counted.add_metric((pipeline, step, status), count)
    lasted = gauge(
        "step_last_duration_seconds",
        "How long the step took when it was last executed.",
        "pipeline",
        "step",
    )
    for row in durations:
        lasted.add_metric((row.pipeline, row.step), (row.ended - row.started).total_seconds())
    yield from (counted, lasted)
