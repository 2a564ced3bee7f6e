"""Running a pipeline's DAG in this process, with Airflow's own machinery and no server.

``dag.test()`` schedules and executes the tasks here, one after the other, so that TensorFlow loads
once. The metadata database is an SQLite file of our own under the home folder: an Airflow that the
person runs is never touched. The result is a :class:`~learnloop.runner.Run`, as the local runner
gives it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnloop.airflow.ended import run_status
from learnloop.airflow.environment import private_environment
from learnloop.errors import UsageError
from learnloop.ledger import open_ledger
from learnloop.living import living_run
from learnloop.pipeline import Graph, Pipeline
from learnloop.runner import (
    NobodyWatches,
    Run,
    RunOptions,
    Watcher,
    new_run_id,
    record_run,
)
from learnloop.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from learnloop.airflow.ongoing import OngoingRun

BUNDLE = "learnloop"
HOME = "airflow-in-process"
"""The folder's name, apart from that of ``make airflow``."""


def run_with_airflow(
    pipeline: Pipeline[...],
    parameters: Mapping[str, Any],
    options: RunOptions | None = None,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Run a pipeline as an Airflow DAG in this process.

    Args:
        pipeline: The pipeline.
        parameters: Its parameters; text is turned into their types.
        options: How to run.
        settings: Where things are; read from the environment and file when None.
        watcher: Is told how the run goes.

    Returns:
        The ended run; a refused gate and a failed step are told by its status.

    Raises:
        UsageError: A parameter, or the name of a step, is wrong, or this is not the main thread.
    """
    from learnloop.settings import load_settings

    if threading.current_thread() is not threading.main_thread():
        raise UsageError("Airflow runs tasks in the main thread only.", next="--runner local")
    settings = settings or load_settings()
    options = options or RunOptions()
    graph = options.choose(pipeline.graph(**pipeline.validate(parameters)))
    if not options.run_id:
        options = dataclasses.replace(options, run_id=new_run_id(pipeline.name))
    import_airflow(settings)
    _migrate()
    _tame_airflow()
    return _run(pipeline, graph, options, settings, watcher or NobodyWatches())


def _run(
    pipeline: Pipeline[...],
    graph: Graph,
    options: RunOptions,
    settings: Settings,
    watcher: Watcher,
) -> Run:
    from learnloop.airflow.ongoing import OngoingRun, shared_run

    dag = _make_dag(pipeline, graph)
    here = OngoingRun(options, settings, watcher)
    ledger = open_ledger(settings.ledger_url)
    with living_run(ledger, settings, options.run_id):
        record_run(
            ledger, graph, options.run_id, runner="airflow", user=options.user, cause=options.cause
        )
        watcher.run_started(options.run_id, graph)
        status = "failed"
        token = shared_run.set(here)
        try:
            with _own_signals():
                dag.test()
        except KeyboardInterrupt:
            status = "cancelled"
        finally:
            shared_run.reset(token)
            steps = ledger.executions(options.run_id)
            status = run_status([step.status for step in steps], status)
            ledger.end_run(options.run_id, status)
    _tell_skipped(here, graph, watcher)
    error = next((here.errors[name] for name in graph.nodes if name in here.errors), None)
    return Run(options.run_id, graph, status, dict(here.results), error, settings)


def _tell_skipped(here: OngoingRun, graph: Graph, watcher: Watcher) -> None:
    for name in graph.nodes:
        if name not in here.results and name not in here.errors and name not in here.cancelled:
            watcher.step_ended(name, "skipped", 0.0)


def import_airflow(settings: Settings) -> None:
    """Import Airflow with a home of our own, quiet, if this process has not done so.

    Args:
        settings: Names the home folder.

    Raises:
        UsageError: Airflow was imported before, for another home.
    """
    if "airflow" not in sys.modules:
        home = settings.home_folder / HOME
        os.environ.update(private_environment(home, settings))
        # Standard output is the command's: Airflow's handler is to print next to nothing …
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
        level = logging.getLogger().level
        import airflow.sdk  # noqa: F401

        # … while the steps' own log files take what they took before.
        logging.getLogger().setLevel(level)
    from airflow.configuration import AIRFLOW_HOME

    if Path(AIRFLOW_HOME).name != HOME:
        raise UsageError(
            "Airflow was imported with another home, which a run in this process would write to.",
            where=AIRFLOW_HOME,
            next="run the pipeline in a process that has not imported Airflow",
        )


def _migrate() -> None:
    """Make the metadata database, once per home and version of Airflow."""
    from airflow import __version__
    from airflow.configuration import AIRFLOW_HOME

    home = Path(AIRFLOW_HOME)
    done = home / f"migrated-{__version__}"
    if done.exists():
        return
    home.mkdir(parents=True, exist_ok=True)
    with (home / "migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return
        from airflow.utils.db import initdb

        initdb()
        done.touch()


@functools.cache
def _tame_airflow() -> None:
    """Let all tasks share one API server, which takes seconds to build, and print nothing."""
    from airflow.models import taskinstance
    from airflow.sdk.execution_time import supervisor

    supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)
    # Airflow 3.2.2 prints every task's outlets; standard output belongs to the command.
    vars(taskinstance)["print"] = lambda *values: None


def _make_dag(pipeline: Pipeline[...], graph: Graph) -> DAG:
    """Make the DAG and tell the metadata database of it, as the DAG processor would."""
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    from learnloop.airflow.dag import add_tasks
    from learnloop.airflow.form import form_fields

    dag = DAG(pipeline.name, schedule=None, params=form_fields(pipeline, graph))
    add_tasks(dag, pipeline, graph)
    with create_session() as session:
        session.merge(DagBundleModel(name=BUNDLE))
        session.flush()
        update_dag_parsing_results_in_db(
            BUNDLE, None, [LazyDeserializedDAG.from_dag(dag)], {}, None, set(), session=session
        )
    return dag


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Put back the handler of SIGTERM, which every task replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
