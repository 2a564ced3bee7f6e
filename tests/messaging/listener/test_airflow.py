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
from messaging.messages import RetrainRequest
from messaging.publisher import Publisher
from messaging.records import Decision, Outcome, State
from tests.messaging.conftest import wait_until
from tests.messaging.requests import NOON, a_request, message_id
from tests.messaging.test_command import ListenCommand

DAG = "/api/v2/dags/looking"
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
def test_airflow_answers_as_the_table_has_it(server: AirflowServer) -> None:
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

    runs = client_of(server).get(f"{DAG}/dagRuns").json()["dag_runs"]
    assert {one["dag_run_id"] for one in runs} == {
        f"retrain-{message_id(1)}",
        f"retrain-{message_id(5)}",
    }
    assert runs[0]["conf"]["cause"].endswith("Run: 5,000 new labelled rows, enough of 500.")


@pytest.mark.timeout(600)
def test_a_message_becomes_a_run_that_says_why(
    server: AirflowServer,
    broker: str,
    publisher: Publisher,
    decisions: Decisions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = client_of(server)
    wait_until(lambda: client.get(DAG).status_code == 200, 180)
    monkeypatch.setenv("LEARNLOOP_RABBITMQ", broker)
    monkeypatch.setenv("LEARNLOOP_AIRFLOW", server.url)
    monkeypatch.setenv("LEARNLOOP_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    listening = ListenCommand(tmp_path / "listener.log")
    try:
        took = [ask(number, publisher, client) for number in range(10, 15)]
        print(f"from request to Airflow run: {sorted(took)[2]:.2f} s, at most {max(took):.2f} s")
        publisher.send(question(10))
        publisher.send(question(15))
        wait_until(lambda: client.get(f"{DAG}/dagRuns/{run_of(15)}").status_code == 200)
        wait_until(lambda: decisions.find(message_id(15)).outcome is Outcome.caused)
        assert listening.end() == 0
    finally:
        if listening.process.poll() is None:
            listening.process.kill()
            listening.process.wait()
    runs = {one["dag_run_id"]: one for one in client.get(f"{DAG}/dagRuns").json()["dag_runs"]}
    assert runs.keys() == {run_of(number) for number in range(10, 16)}
    cause = (
        f"message {message_id(10)} (person, asked by ingest). "
        "Run: ingest overrides the policy (measuring)."
    )
    assert runs[run_of(10)]["note"] == cause
    assert runs[run_of(10)]["conf"] == {"share": 0.1, "cause": cause}


def ask(number: int, publisher: Publisher, client: httpx.Client) -> float:
    """Send a request, wait until Airflow shows its run, and tell how long that took."""
    began = time.monotonic()
    publisher.send(question(number))
    path = f"{DAG}/dagRuns/{run_of(number)}"
    wait_until(lambda: client.get(path).status_code == 200)
    return time.monotonic() - began


def question(number: int) -> RetrainRequest:
    request = a_request(number, pipeline="looking", parameters={"share": number / 100})
    return replace(request, reason="person", override="measuring")


def run_of(number: int) -> str:
    return f"retrain-{message_id(number)}"


def client_of(server: AirflowServer) -> httpx.Client:
    client = httpx.Client(base_url=server.url, timeout=60)
    token = client.post("/auth/token", json={"username": "", "password": ""}).json()
    client.headers["Authorization"] = f"Bearer {token['access_token']}"
    return client
