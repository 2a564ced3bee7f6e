"""Turning a pipeline into an Airflow DAG: one task per node, in a few lines of a DAG file.

::

    from learnloop.airflow.dag import airflow_dag
    from pipelines.learner_outcome.pipeline import learner_outcome

    dag = airflow_dag(learner_outcome, schedule="@daily", start_date=datetime(2024, 9, 1))

Airflow parses DAG files again and again, so nothing here imports a machine-learning library, the
ledger or the store: a task does when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, CronDataIntervalTimetable, DeltaDataIntervalTimetable

from learnloop.airflow.form import Interval, check_interval, form_fields, initial_parameters
from learnloop.airflow.notify import CONNECTION, FailureNotifier
from learnloop.airflow.operator import StepOperator
from learnloop.pipeline import Graph, Pipeline

if TYPE_CHECKING:
    from airflow.sdk.definitions.dag import ScheduleArg

TAG = "learnloop"


def airflow_dag(
    pipeline: Pipeline[...],
    *,
    dag_id: str = "",
    schedule: ScheduleArg = None,
    start_date: datetime | None = None,
    catchup: bool = False,
    parameters: Mapping[str, Any] | None = None,
    interval: tuple[str, str] | None = None,
    tags: Sequence[str] = (),
    max_active_runs: int = 1,
    timeout: timedelta | None = None,
    notify: str = CONNECTION,
) -> DAG:
    """Make a DAG of a pipeline.

    Retries, timeouts, pools, cores and memory are those that each component declares
    (``Resources``), or that the pipeline declares for a step (``component.needing(retries=2)``).

    Args:
        pipeline: The pipeline.
        dag_id: The DAG's name; the pipeline's when empty.
        schedule: A cron line, a ``timedelta``, assets …; None for runs on demand.
        start_date: The first data that a schedule or a backfill may ask for.
        catchup: Whether a schedule makes up for intervals that have passed.
        parameters: Values for parameters, shown first in the form and used by the schedule.
        interval: The two parameters that take the start and the end of a scheduled or backfilled
            run's data interval, as ISO 8601 text.
        tags: Tags beside ``learnloop``.
        max_active_runs: The most runs at once.
        timeout: The longest a run may take.
        notify: The Airflow connection that is told of a failed run, if there is one.

    Returns:
        The DAG; bind it to a global name of the DAG file.

    Raises:
        UsageError: A parameter has no value or does not fit.
        GraphError: The graph is not sound.
    """
    graph = pipeline.graph(**initial_parameters(pipeline, parameters or {}))
    span = Interval(*interval) if interval else None
    if span is not None:
        check_interval(pipeline, span)
        schedule = _with_intervals(schedule)
    dag = DAG(
        dag_id or pipeline.name,
        schedule=schedule,
        start_date=start_date,
        catchup=catchup,
        params=form_fields(pipeline, graph),
        tags={TAG, *tags},
        max_active_runs=max_active_runs,
        dagrun_timeout=timeout,
        description=pipeline.description.partition("\n")[0],
        doc_md=describe(pipeline, graph),
        on_failure_callback=FailureNotifier(notify),
        render_template_as_native_obj=False,
    )
    add_tasks(dag, pipeline, graph, span)
    return dag


def add_tasks(
    dag: DAG, pipeline: Pipeline[...], graph: Graph, interval: Interval | None = None
) -> None:
    """Add a task for every node of a graph, and an edge for every pair of nodes connected.

    Args:
        dag: An empty DAG.
        pipeline: The pipeline that the graph was built from.
        graph: The nodes; those of a part of the pipeline will do.
        interval: The parameters that a data interval fills.
    """
    tasks: dict[str, StepOperator] = {}
    for node in graph.nodes.values():
        task = StepOperator(dag=dag, pipeline=pipeline, node=node, interval=interval)
        for upstream in node.upstream:
            task.set_upstream(tasks[upstream])
        tasks[node.name] = task


def describe(pipeline: Pipeline[...], graph: Graph) -> str:
    """Write a DAG's documentation in Markdown: the docstring's prose, then the steps.

    Args:
        pipeline: Its docstring is the text.
        graph: Its nodes are listed.
    """
    prose = pipeline.description.partition("\nArgs:\n")[0].strip()
    steps = [f"- **{node.name}**: {node.component.summary}" for node in graph.nodes.values()]
    return "\n".join([prose, "", "### Steps", *steps])


def _with_intervals(schedule: ScheduleArg) -> ScheduleArg:
    """Give a schedule data intervals; Airflow 3's own cron schedule has intervals of no length."""
    if isinstance(schedule, str):
        return CronDataIntervalTimetable(schedule, timezone="UTC")
    if isinstance(schedule, timedelta):
        return DeltaDataIntervalTimetable(schedule)
    return schedule
