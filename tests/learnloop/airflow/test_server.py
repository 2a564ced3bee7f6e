"""Airflow's own scheduler runs a DAG, and the ledger tells of it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from learnloop.airflow.server import AirflowServer, find_port, start_airflow
from learnloop.errors import LearnLoopError
from learnloop.ledger import RunRecord, open_ledger
from learnloop.settings import Settings, load_settings
from simulator import SimulationSettings, simulate
from tests.learnloop.airflow.conftest import ROOT
from tests.learnloop.airflow.receivers import Hook

pytestmark = pytest.mark.xdist_group("airflow-server")

DAG = "/api/v2/dags/looking"
BACKFILL = {
    "dag_id": "looking",
    "from_date": "2024-03-01T00:00:00Z",
    "to_date": "2024-03-02T00:00:00Z",
    "max_active_runs": 1,
    "dag_run_conf": {"share": 0.75},
}
OTHER_SHAPE = (
    "These parameters make another graph than the one this DAG was made of.\n"
    "  where:    DAG 'looking'\n"
    "  expected: steps look, publish\n"
    "  received: steps look_around, look, publish\n"
    "  next:     make a DAG of its own: airflow_dag(…, dag_id=…, parameters=…)"
)


@dataclass(frozen=True)
class Client:
    """Speaks Airflow's REST API as the administrator that everybody is."""

    url: str
    token: str

    @classmethod
    def of(cls, server: AirflowServer) -> Client:
        return cls(server.url, Client(server.url, "").call("GET", "/auth/token")["access_token"])

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def read(self, path: str) -> bytes:
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: bytes = answer.read()
            return found

    def wait_for(self, path: str, is_there: Callable[[Any], bool], seconds: float = 120) -> Any:
        until = time.monotonic() + seconds
        answer: Any = None
        while time.monotonic() < until:
            try:
                answer = self.call("GET", path)
            except urllib.error.HTTPError as fault:
                answer = fault
            else:
                if is_there(answer):
                    return answer
            time.sleep(0.3)
        raise AssertionError(f"{path}: {answer}")


def processes_of(server: AirflowServer) -> set[psutil.Process]:
    """Every process that the server has started, near or far."""
    found = set()
    for leader in server.processes.values():
        process = psutil.Process(leader.pid)
        found |= {process, *process.children(recursive=True)}
    return found


@pytest.fixture
def home(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_postgres_database: Callable[[], str],
    hook: Hook,
) -> Settings:
    """The settings of a server whose metadata and ledger are in PostgreSQL."""
    for name in ("AIRFLOW_HOME", "AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__LOGGING__LOGGING_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", new_postgres_database())
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNLOOP_LEDGER", new_postgres_database())
    monkeypatch.setenv("LEARNLOOP_PRELOAD", "tensorflow")
    monkeypatch.setenv("AIRFLOW_CONN_LEARNLOOP_NOTIFY", f"http://127.0.0.1:{hook.server_port}")
    return Settings()


@pytest.fixture
def server(home: Settings) -> Iterator[AirflowServer]:
    started = start_airflow(home, find_port())
    try:
        started.wait_until_ready(180)
        yield started
    finally:
        started.stop()


@pytest.mark.timeout(300)
def test_runs_by_message_schedule_and_backfill(
    server: AirflowServer, home: Settings, hook: Hook
) -> None:
    client = Client.of(server)
    client.wait_for(DAG, lambda dag: dag["is_paused"])
    assert client.call("GET", "/api/v2/importErrors")["import_errors"] == []
    pools = {one["name"]: one["slots"] for one in client.call("GET", "/api/v2/pools")["pools"]}
    assert pools["models"] == 1, "a component names it, and nobody has made it"
    conf = {"names": ["Grace"], "share": 0.25, "cause": "message 7: drift"}
    body = {"dag_run_id": "retrain-7", "logical_date": None, "conf": conf}
    with pytest.raises(urllib.error.HTTPError, match="400"):
        client.call("POST", f"{DAG}/dagRuns", {**body, "conf": {"share": "a lot"}})
    client.call("POST", f"{DAG}/dagRuns", body)
    client.call("POST", "/api/v2/backfills", BACKFILL)
    client.call("PATCH", f"{DAG}?update_mask=is_paused", {"is_paused": False})
    runs = client.wait_for(
        f"{DAG}/dagRuns",
        lambda found: [one["state"] for one in found["dag_runs"]] == ["success"] * 4,
    )["dag_runs"]
    names = {one["run_type"]: one["dag_run_id"] for one in runs if one["run_type"] != "backfill"}
    backfilled = sorted(one["dag_run_id"] for one in runs if one["run_type"] == "backfill")

    told = wait_for_end(home, "looking~retrain-7")
    assert (told.runner, told.status, told.user) == ("airflow", "done", "Anonymous")
    assert told.cause == "message 7: drift"
    assert told.parameters["names"] == ["Grace"]
    assert told.parameters["since"] is None
    ledger = open_ledger(home.ledger_url)
    looked, published = ledger.executions(told.id)
    (seen,) = ledger.outputs(looked.id)
    document = json.loads((Path(seen.uri) / "document.json").read_text())
    assert document == {"tensorflow": True, "names": ["Grace"], "since": None}

    scheduled = wait_for_end(home, f"looking~{names['scheduled']}")
    assert scheduled.status == "done"
    assert scheduled.cause.startswith("schedule, for 20")
    assert scheduled.parameters["names"] == ["Ada"]
    assert scheduled.parameters["since"] < scheduled.parameters["until"]

    for day, name in enumerate(backfilled, start=1):
        filled = wait_for_end(home, f"looking~{name}")
        assert (filled.status, filled.cause) == (
            "done",
            f"backfill, for 2024-03-0{day} 00:00 to 2024-03-0{day + 1} 00:00",
        )
        assert filled.parameters == {
            "names": ["Ada"],
            "mode": "fast",
            "since": f"2024-03-0{day}T00:00:00+00:00",
            "until": f"2024-03-0{day + 1}T00:00:00+00:00",
            "share": 0.75,
        }

    events = client.call("GET", "/api/v2/assets/events")["asset_events"]
    extra = next(one["extra"] for one in events if one["source_run_id"] == "retrain-7")
    (version,) = ledger.outputs(published.id)
    assert extra == {
        "pipeline": "looking",
        "run_id": "looking~retrain-7",
        "step": "publish",
        "key": published.key,
        "cached": False,
        "uri": version.uri,
        "content_digest": version.content_digest,
        "metadata": {"version": 1},
        "inputs": {"seen": [seen.content_digest]},
    }
    links = client.call("GET", f"{DAG}/dagRuns/retrain-7/taskInstances/publish/links")
    address = links["extra_links"]["Run report"]
    assert address == f"{server.url}/learnloop/dags/looking/runs/retrain-7/report"
    page = client.read(address.removeprefix(server.url)).decode()
    assert "looking~retrain-7" in page

    client.call("POST", f"{DAG}/dagRuns", {**body, "dag_run_id": "slow", "conf": {"mode": "slow"}})
    client.wait_for(f"{DAG}/dagRuns/slow", lambda run: run["state"] == "failed")
    told = wait_for_end(home, "looking~slow")
    assert told.status == "failed"
    failed = {one.step: one for one in ledger.executions(told.id)}
    assert (failed["look"].status, failed["look"].reasons) == ("failed", (OTHER_SHAPE,))
    tasks = client.call("GET", f"{DAG}/dagRuns/slow/taskInstances")["task_instances"]
    assert {one["task_id"]: (one["state"], one["try_number"]) for one in tasks} == {
        "look": ("failed", 1),
        "publish": ("upstream_failed", 0),
    }
    until = time.monotonic() + 30
    while not hook.received and time.monotonic() < until:
        time.sleep(0.2)
    assert hook.received == [
        {
            "text": f"looking: run looking~slow failed\nlook failed: {OTHER_SHAPE}\n"
            "learnloop show looking~slow"
        }
    ]

    everything = processes_of(server)
    assert len(everything) > len(server.processes)
    server.stop()
    assert [one for one in everything if is_alive(one)] == []


@pytest.fixture
def own_dags(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[AirflowServer, Settings]]:
    """A server of our own DAG files, with SQLite, and nothing of the person's."""
    for name in ("AIRFLOW_HOME", "AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__LOGGING__LOGGING_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", raising=False)
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(ROOT))
    for variable, place in (("HOME", "home"), ("SERVING", "models")):
        monkeypatch.setenv(f"LEARNLOOP_{variable}", str(tmp_path / place))
    home = load_settings()
    server = start_airflow(home, find_port())
    try:
        server.wait_until_ready(300)
        yield server, home
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_backfill_of_two_terms_takes_two_spans_of_the_data(
    own_dags: tuple[AirflowServer, Settings], tmp_path: Path
) -> None:
    """Our own DAG, from simulated tables to a published model, once for each term."""
    server, home = own_dags
    data = tmp_path / "simulated"
    simulate(SimulationSettings(), data)
    client = Client.of(server)
    dag = "/api/v2/dags/learner_outcome"
    client.wait_for(dag, lambda found: found["is_paused"], 300)
    client.call(
        "POST",
        "/api/v2/backfills",
        {
            "dag_id": "learner_outcome",
            "from_date": "2014-07-01T00:00:00Z",
            "to_date": "2014-12-01T00:00:00Z",
            "max_active_runs": 1,
            "dag_run_conf": {"source": str(data / "oulad"), "min_auc": 0.5},
        },
    )
    client.call("PATCH", f"{dag}?update_mask=is_paused", {"is_paused": False})

    def has_ended(found: Any) -> bool:
        ended = [run for run in found["dag_runs"] if run["run_type"] == "backfill"]
        return [run["state"] in ("success", "failed") for run in ended] == [True, True]

    runs = client.wait_for(f"{dag}/dagRuns", has_ended, 1500)["dag_runs"]
    names = sorted(run["dag_run_id"] for run in runs if run["run_type"] == "backfill")
    ledger = open_ledger(home.ledger_url)
    taken = []
    for name in names:
        told = wait_for_end(home, f"learner_outcome~{name}")
        assert told.status == "done", [one.reasons for one in ledger.executions(told.id)]
        steps = {one.step: one for one in ledger.executions(told.id)}
        (examples,) = ledger.outputs(steps["join_features"].id)
        learned_from = examples.metadata["train_presentations"]
        taken.append((told.cause, learned_from, examples.metadata["test_presentations"]))
    assert taken == [
        (
            "backfill, for 2014-07-01 04:00 to 2014-10-01 04:00",
            ["2013B", "2013J"],
            ["2014B"],
        ),
        (
            "backfill, for 2014-10-01 04:00 to 2015-07-01 04:00",
            ["2013B", "2013J", "2014B"],
            ["2014J"],
        ),
    ]


def wait_for_end(home: Settings, run_id: str) -> RunRecord:
    """The scheduler's listener has written a run's end, a moment after Airflow shows it."""
    ledger = open_ledger(home.ledger_url)
    until = time.monotonic() + 20
    while ledger.run(run_id).status == "running" and time.monotonic() < until:
        time.sleep(0.1)
    return ledger.run(run_id)


def is_alive(process: psutil.Process) -> bool:
    """A process that has ended may still wait for its parent to take notice."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_database_that_cannot_be_made_is_told(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"sqlite:///{tmp_path}/nowhere/airflow.db"
    monkeypatch.delenv("AIRFLOW_HOME", raising=False)
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", nowhere)
    with pytest.raises(LearnLoopError) as caught:
        start_airflow(Settings(home=tmp_path / "home"), find_port())
    assert caught.value.what == "Airflow's metadata database could not be made ready."
    assert caught.value.where == str(tmp_path / "home" / "airflow" / "logs" / "prepare.log")
    assert "unable to open database file" in Path(caught.value.where).read_text()


def test_no_process_outlives_a_killed_server(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from learnloop.airflow.server import start\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        f"print(start(sleep, os.environ, Path({str(tmp_path / 'log')!r})).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        started = psutil.Process(int(killed.stdout.readline()))
        assert is_alive(started)
        killed.kill()
    until = time.monotonic() + 10
    while is_alive(started) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(started)


def test_a_taken_port_is_not_chosen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert find_port(port) != port
