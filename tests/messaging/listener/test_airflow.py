"""Airflow itself: what it answers to the listener, and how soon a request is a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from learnloop.airflow.server import AirflowServer, find_port, start_airflow
from learnloop.settings import Settings
from messaging.decisions import Decisions
from messaging.listener.airflow import AirflowTarget
from messaging.listener.target import Answer
from messaging.publisher import Publisher
from messaging.records import Decision, Outcome, State
from tests.messaging.conftest import Listen, wait_until
from tests.messaging.requests import NOON, a_request, message_id

PROJECT = Path(__file__).parents[2] / "learnloop" / "airflow" / "project"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("rabbitmq")]


@pytest.fixture
def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_postgres_database: Callable[[], str]
) -> Iterator[AirflowServer]:
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(PROJECT))
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNLOOP_PRELOAD", "")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", new_postgres_database())
    started = start_airflow(Settings(), find_port())
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.stop()


def approved(number: int, **changed: object) -> Decision:
    decision = Decision(
        id=message_id(number),
        pipeline="looking",
        parameters={"share": 0.25},
        parameters_digest="",
        reason="new_data",
        requested_by="ingest",
        state=State.approved,
        sentence="Run: 5,000 new labelled rows, enough of 500.",
        rules=(),
        decided=NOON,
        run_id=f"retrain-{message_id(number)}",
    )
    return replace(decision, **changed)  # type: ignore[arg-type]  # fields by name


@pytest.mark.timeout(600)
def test_airflow_answers_as_the_table_has_it(
    server: AirflowServer, listen: Listen, publisher: Publisher, decisions: Decisions
) -> None:
    target = AirflowTarget(server.url)
    wait_until(lambda: target.create(approved(1)).answer is Answer.started, 180)
    again = target.create(approved(1))
    assert (again.answer, again.said) == (Answer.started, "the run was there already")
    wrong = target.create(approved(2, parameters={"share": "a lot"}))
    assert wrong.answer is Answer.rejected
    assert wrong.said.startswith("Airflow answered 400: ")
    bad_name = target.create(approved(3, run_id="scheduled__1"))
    assert bad_name.answer is Answer.rejected
    nowhere = target.create(approved(4, pipeline="lookin"))
    assert nowhere.answer is Answer.unknown
    assert "404" in nowhere.said
    target._token = "gone"
    assert target.create(approved(5)).answer is Answer.started
    target.close()

    client = httpx.Client(base_url=server.url, timeout=60)
    token = client.post("/auth/token", json={"username": "", "password": ""}).json()
    client.headers["Authorization"] = f"Bearer {token['access_token']}"
    runs = client.get("/api/v2/dags/looking/dagRuns").json()["dag_runs"]
    assert {one["dag_run_id"] for one in runs} == {
        f"retrain-{message_id(1)}",
        f"retrain-{message_id(5)}",
    }
    assert runs[0]["conf"]["cause"].endswith("Run: 5,000 new labelled rows, enough of 500.")

    listen(AirflowTarget(server.url))
    took = []
    for number in range(10, 15):
        request = a_request(number, pipeline="looking", parameters={"share": number / 100})
        request = replace(request, reason="person", override="measuring")
        began = time.monotonic()
        publisher.send(request)
        path = f"/api/v2/dags/looking/dagRuns/retrain-{message_id(number)}"
        wait_until(lambda path=path: client.get(path).status_code == 200)
        took.append(time.monotonic() - began)
    print(f"from request to Airflow run: {sorted(took)[2]:.2f} s, at most {max(took):.2f} s")
    assert max(took) < 2.0
    wait_until(lambda: decisions.find(message_id(14)).outcome is Outcome.caused)
