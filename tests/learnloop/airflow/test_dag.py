"""A DAG holds what its pipeline and its components declare."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG, CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.serialization.serialized_objects import DagSerialization

from learnloop.airflow.dag import airflow_dag
from learnloop.airflow.operator import StepOperator
from learnloop.errors import UsageError
from tests.learnloop import steps

pytestmark = pytest.mark.xdist_group("airflow")


@pytest.fixture
def dag(project: Path) -> DAG:
    spec = importlib.util.spec_from_file_location("dag_file", project / "dags" / "small.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.dag
    assert isinstance(found, DAG)
    return found


def test_the_dag_is_the_pipeline(dag: DAG) -> None:
    assert dag.dag_id == "looking"
    assert dag.tags == {"learnloop", "test"}
    assert dag.description == "Look at the process and publish what was seen."
    assert dag.doc_md == (
        "Look at the process and publish what was seen.\n\nIt is quick.\n\n### Steps\n"
        "- **look**: Tell whether this process had TensorFlow before anything asked for it.\n"
        "- **publish**: Stand for a component that publishes a model."
    )
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "look": set(),
        "publish": {"look"},
    }


def test_a_task_has_what_its_component_declares(dag: DAG) -> None:
    task = dag.get_task("publish")
    assert isinstance(task, StepOperator)
    assert (task.retries, task.retry_delay) == (2, timedelta(seconds=10))
    assert task.execution_timeout == timedelta(seconds=30 + 60)
    assert task.pool == "models"
    assert task.doc_md == (
        "Stand for a component that publishes a model.\n\n    It publishes nothing.\n    "
    )
    assert [(one.name, one.uri) for one in task.outlets] == [
        ("looking.publish.published", "x-learnloop://looking/publish/published")
    ]
    assert dag.get_task("look").outlets == []


def test_the_form_shows_every_parameter(dag: DAG) -> None:
    fields = {name: dag.params.get_param(name) for name in dag.params}
    assert dag.params.dump() == {
        "names": ["Ada"],
        "mode": "fast",
        "since": None,
        "until": None,
        "share": 0.5,
        "cause": "",
        "force": [],
        "use_cache": True,
        "overrides": {},
    }
    assert fields["names"].description == "Whom to greet, each by the first name, as in Ada."
    assert fields["names"].schema["type"] == "array"
    assert fields["mode"].schema["enum"] == ["fast", "slow"]
    assert fields["since"].schema["type"] == ["string", "null"]
    assert fields["share"].schema["section"] == "Parameters of the pipeline"
    assert fields["force"].schema["examples"] == ["look", "publish"]
    assert fields["overrides"].schema["section"] == "This run"


def test_a_schedule_with_an_interval_has_intervals(dag: DAG) -> None:
    """Airflow 3 gives a cron line intervals of no length, which would ask for no data at all."""
    assert isinstance(dag.timetable, CronDataIntervalTimetable)
    hourly = airflow_dag(steps.sums, schedule=timedelta(hours=1), interval=("start", "length"))
    assert isinstance(hourly.timetable, DeltaDataIntervalTimetable)


def test_airflow_can_store_it(dag: DAG) -> None:
    document = DagSerialization.serialize_dag(dag)
    json.dumps(document)
    read = DagSerialization.deserialize_dag(document)
    assert read.task_dict.keys() == {"look", "publish"}
    assert list(read.get_task("publish").operator_extra_link_dict) == ["Run report"]


def test_a_dag_of_another_name_and_shape() -> None:
    dag = airflow_dag(steps.sums, dag_id="long_sums", parameters={"length": 3})
    assert dag.dag_id == "long_sums"
    assert list(dag.task_dict) == ["make", "add", "add_2", "add_3", "total"]
    assert dag.params["length"] == 3


def test_an_unknown_interval_parameter() -> None:
    with pytest.raises(UsageError) as caught:
        airflow_dag(steps.sums, schedule="@daily", interval=("start", "lenght"))
    assert str(caught.value) == (
        "Pipeline 'sums' has no parameter 'lenght' for the data interval.\n"
        "  where:    tests.learnloop.steps:sums\n"
        "  expected: did you mean 'length'?\n"
        "  received: 'lenght'"
    )


def test_a_start_date_is_kept() -> None:
    start = datetime(2024, 9, 1, tzinfo=UTC)
    assert airflow_dag(steps.sums, start_date=start).start_date == start
