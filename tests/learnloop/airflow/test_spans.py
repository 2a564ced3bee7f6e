"""The intervals that our own DAG files ask for fit the terms of the data."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval

from learnloop.airflow.form import Interval, read_parameters
from learnloop.airflow.operator import StepOperator
from pipelines.learner_outcome.pipeline import learner_outcome
from tests.learnloop.airflow.conftest import ROOT

pytestmark = pytest.mark.xdist_group("airflow")


def load_dag(name: str) -> DAG:
    spec = importlib.util.spec_from_file_location(name, ROOT / "dags" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.dag
    assert isinstance(found, DAG)
    return found


def intervals_of(dag: DAG, since: datetime, until: datetime) -> list[DataInterval]:
    """What a backfill of this span would run, by Airflow's own reckoning."""
    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    found = [info.data_interval for info in stored.iter_dagrun_infos_between(since, until)]
    assert None not in found
    return [one for one in found if one is not None]


def parameters_of(dag: DAG, interval: DataInterval, run_type: str) -> dict[str, Any]:
    task = dag.get_task("enrolments")
    assert isinstance(task, StepOperator)
    run = SimpleNamespace(
        run_type=run_type,
        data_interval_start=interval.start,
        data_interval_end=interval.end,
        conf={},
    )
    context = {"dag_run": run, "params": dag.params.dump()}
    return read_parameters(learner_outcome, task.interval, context)


def test_every_interval_of_learner_outcome_ends_a_term() -> None:
    """July to September has February's outcomes, October to June those of October."""
    dag = load_dag("learner_outcome")
    found = intervals_of(dag, datetime(2013, 10, 1, tzinfo=UTC), datetime(2014, 12, 31, tzinfo=UTC))
    spans = [parameters_of(dag, interval, "backfill") for interval in found]
    assert [(one["since"], one["until"]) for one in spans] == [
        ("2013-10-01T04:00:00+00:00", "2014-07-01T04:00:00+00:00"),
        ("2014-07-01T04:00:00+00:00", "2014-10-01T04:00:00+00:00"),
        ("2014-10-01T04:00:00+00:00", "2015-07-01T04:00:00+00:00"),
    ]
    assert [parameters_of(dag, one, "scheduled") for one in found] == spans
    assert parameters_of(dag, found[0], "manual")["since"] == ""


def test_knowledge_tracing_has_no_interval_for_want_of_time_in_its_data() -> None:
    tasks = load_dag("knowledge_tracing").tasks
    assert {task.interval for task in tasks if isinstance(task, StepOperator)} == {None}
    outcome = load_dag("learner_outcome").get_task("ingest")
    assert isinstance(outcome, StepOperator)
    assert outcome.interval == Interval("since", "until")
