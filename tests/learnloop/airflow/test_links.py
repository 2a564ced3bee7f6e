"""Buttons on a task: where they lead is known when the task has ended."""

from __future__ import annotations

import pytest

from learnloop.airflow.runner import run_with_airflow
from learnloop.artifacts import RegisteredModel
from learnloop.component import Output, component
from learnloop.pipeline import pipeline
from learnloop.settings import Settings

pytestmark = pytest.mark.xdist_group("airflow")


@component
def register_model(registered: Output[RegisteredModel]) -> None:
    """Stand for a component that registers a model."""
    registered.write({"name": "at risk", "version": "3"})


@pipeline
def registering() -> None:
    """Register a model."""
    register_model()


@pytest.mark.parametrize(
    ("mlflow", "address"),
    [
        ("http://mlflow.example:5000/", "http://mlflow.example:5000/#/models/at%20risk/versions/3"),
        ("", ""),
    ],
)
def test_links(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, mlflow: str, address: str
) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    monkeypatch.setenv("LEARNLOOP_MLFLOW", mlflow)
    assert run_with_airflow(registering, {}, None, settings).status == "done"
    with create_session() as session:
        runs = session.query(DagRun).filter_by(dag_id="registering")
        run_id = runs.order_by(DagRun.id.desc()).first().run_id
        found = session.query(XComModel).filter_by(dag_id="registering", run_id=run_id)
        links = {one.key: one.value for one in found if one.key.startswith("_link")}
    assert links["_link_MlflowLink"] == address
    quoted = run_id.replace(":", "%3A").replace("+", "%2B")
    assert links["_link_ReportLink"] == (
        f"http://localhost:8080/learnloop/dags/registering/runs/{quoted}/report"
    )
