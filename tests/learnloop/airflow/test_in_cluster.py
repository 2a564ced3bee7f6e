"""Airflow as its manifests have it: the database made, users let in, probes answered.

The executor cannot start without a cluster: the scheduler is started with another, for its probe.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.confined import confined
from tests.kubernetes.rendered import ROOT, SECRET, workload
from tests.servers import end_group, free_port

GUIDE = ROOT / "docs" / "kubernetes.md"
READY_SECONDS = 120
SECRETS = {
    "AIRFLOW__CORE__FERNET_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "AIRFLOW__API__SECRET_KEY": "7d" * 32,
    "AIRFLOW__API_AUTH__JWT_SECRET": "3f" * 64,
}


@dataclass
class Cluster:
    """Runs what the containers of Airflow would."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, words: list[str], **changed: str) -> subprocess.Popen[bytes]:
        one = workload(name)
        given = one.environment(one.main) | SECRETS | changed
        given |= {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////var/lib/learnloop/airflow.db",
            "LEARNLOOP_LEDGER": "sqlite:////var/lib/learnloop/ledger.db",
        }
        assert SECRET not in given.values()
        assert given.keys() == one.environment(one.main).keys() | changed.keys()
        path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        writable = str(self.folder / "tmp")
        settings = {"LEARNLOOP_PROJECT": str(ROOT), "HOME": writable, "TMPDIR": writable}
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*confined(one, self.here), sys.executable, "-m", *words],
                env={**path, **settings, **{key: self.here(given[key]) for key in given}},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def here(self, text: str) -> str:
        """A text with the places of this machine for those of a container."""
        places = {"/opt/learnloop": ROOT, "/var/lib": self.folder, "/tmp": self.folder / "tmp"}
        return re.sub("|".join(places), lambda found: str(places[found[0]]), text)

    def do(self, name: str, words: list[str]) -> None:
        code = self.start(name, words).wait()
        assert code == 0, (self.folder / f"{name}.log").read_text()

    def wait(self, name: str, port: int) -> None:
        """Wait until every probe of a workload passes."""
        container = workload(name).main
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            if kind in container:
                self._ask(name, f"http://127.0.0.1:{port}{container[kind]['httpGet']['path']}")

    def _ask(self, name: str, url: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(url) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                log = (self.folder / f"{name}.log").read_text()
                assert self.processes[-1].poll() is None and time.monotonic() < deadline, log
                time.sleep(0.2)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    for folder in ("airflow", "learnloop", "tmp"):
        (tmp_path / folder).mkdir()
    yield made
    for process in made.processes:
        end_group(process)


def test_the_listeners_user_is_let_in(cluster: Cluster) -> None:
    migrate, server = workload("airflow-migrate"), workload("airflow-api-server")
    cluster.do("airflow-migrate", migrate.words(migrate.main)[2:])
    (waits,) = server.pod["initContainers"]
    cluster.do("airflow-api-server", server.words(waits))
    (user,) = re.findall(r"airflow users create (.+)", GUIDE.read_text())
    cluster.do(
        "airflow-api-server",
        ["airflow", "users", "create", *user.split(), "--password", "7d7d7d7d"],
    )

    port = free_port()
    words = [
        w.replace("0.0.0.0", "127.0.0.1").replace("=8080", f"={port}")
        for w in server.words(server.main)
    ]
    cluster.start("airflow-api-server", words)
    cluster.wait("airflow-api-server", port)
    scheduler, health = workload("airflow-scheduler"), free_port()
    cluster.start(
        "airflow-scheduler",
        scheduler.words(scheduler.main),
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT=str(health),
    )
    cluster.wait("airflow-scheduler", health)

    url = f"http://127.0.0.1:{port}"
    token = asked(f"{url}/auth/token", {"username": "listener", "password": "7d7d7d7d"})
    assert asked(f"{url}/api/v2/dags", token=token["access_token"])["dags"] == []
    assert refusal(f"{url}/api/v2/dags/none/dagRuns", {"logical_date": None}, token) == 404
    assert refusal(f"{url}/api/v2/dags/none/dagRuns/one", None, token) == 404
    assert refusal(f"{url}/api/v2/connections", None, token) == 403
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(f"{url}/api/v2/dags")
    assert refused.value.code == 401


def refusal(url: str, body: object, token: Any) -> int:
    """The status with which Airflow refuses."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(url, body, token["access_token"])
    return refused.value.code


def asked(url: str, body: object = None, token: str = "") -> Any:
    """Ask Airflow by REST."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    content = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, content, headers)) as answer:
        return json.load(answer)
