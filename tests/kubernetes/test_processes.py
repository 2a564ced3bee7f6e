"""Each process with its manifest's own words and variables: it starts, its probes pass, it ends.

What differs is where things are: this machine's loopback, free ports, private servers and a folder.
Airflow's processes are tested where Airflow is (``tests/learnloop/airflow``).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
import trustme

from messaging.events.master_keys import VARIABLE as EVENT_KEY
from tests.kubernetes.confined import can_confine, confined
from tests.kubernetes.rendered import ROOT, SECRET, Document, workload
from tests.messaging.events.kafka import kafka_cluster
from tests.servers import PostgresServer, RedisServer, end_group, free_port

READY_SECONDS = 60
TOKEN = "7d" * 16


@dataclass(frozen=True)
class Started:
    """A workload's main process on this machine.

    Args:
        process: It.
        ports: The port here by the port of the manifest.
        log: What it said.
        trusted: Whom its certificate is from.
    """

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    log: Path
    trusted: ssl.SSLContext

    def wait(self, passes: Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + READY_SECONDS
        while not passes():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def passes(self, probe: Document) -> bool:
        """Ask as a kubelet does, which takes any certificate."""
        if "tcpSocket" in probe:
            with contextlib.suppress(OSError):
                socket.create_connection(
                    ("127.0.0.1", self.ports[probe["tcpSocket"]["port"]])
                ).close()
                return True
            return False
        asked = probe["httpGet"]
        scheme = asked.get("scheme", "HTTP").lower()
        url = f"{scheme}://127.0.0.1:{self.ports[asked['port']]}{asked['path']}"
        trusted = self.trusted if scheme == "https" else None
        with contextlib.suppress(OSError), urllib.request.urlopen(url, context=trusted) as answer:
            return int(answer.status) == 200
        return False


Start = Callable[..., contextlib.AbstractContextManager[Started]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a workload by name, with values for its secrets and for what leads outside."""
    for folder in ("features", "models", "shared/predictions", "tls", "tmp"):
        (tmp_path / folder).mkdir(parents=True)
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "tls" / "tls.crt"))
    issued.private_key_pem.write_to_path(str(tmp_path / "tls" / "tls.key"))
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    places = {
        "/opt/learnloop/features": tmp_path / "features",
        "/opt/learnloop": ROOT,
        "/var/lib/learnloop": tmp_path / "shared",
        "/models": tmp_path / "models",
        "/tmp": tmp_path / "tmp",
        "/tls/": f"{tmp_path}/tls/",
        "0.0.0.0": "127.0.0.1",
    }

    def here(text: str) -> str:
        return re.sub("|".join(map(re.escape, places)), lambda found: str(places[found[0]]), text)

    @contextlib.contextmanager
    def started(name: str, **values: str) -> Iterator[Started]:
        one = workload(name)
        for file, text in one.one("ConfigMap", "learnloop-settings")["data"].items():
            (tmp_path / file).write_text(here(text))
        given = one.environment(one.main) | values
        unknown = [variable for variable, value in given.items() if value == SECRET]
        assert not unknown and given.keys() == one.environment(one.main).keys(), unknown
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "LEARNLOOP_PROJECT": str(tmp_path),
            "HOME": str(tmp_path / "tmp"),
            "TMPDIR": str(tmp_path / "tmp"),
            **{variable: here(value) for variable, value in given.items()},
        }
        for before in one.pod.get("initContainers", ()):
            assert one.environment(before).keys() == one.environment(one.main).keys()
            words = [*confined(one, here), sys.executable, "-m", *one.words(before)]
            subprocess.run(words, env=environment, cwd=tmp_path, check=True)
        declared = {p["name"]: str(p["containerPort"]) for p in one.main.get("ports", ())}
        ports = {port_name: free_port() for port_name in declared}
        words = [here(word) for word in one.words(one.main | {"env": [
            {"name": variable, "value": value} for variable, value in given.items()
        ]})]  # fmt: skip
        for port_name, number in declared.items():
            words = [re.sub(rf"={number}$", f"={ports[port_name]}", word) for word in words]
        log = tmp_path / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*confined(one, here), sys.executable, "-m", *words],
                env=environment,
                cwd=tmp_path,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            running = Started(process, ports, log, trusted)
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                if kind in one.main:
                    running.wait(lambda kind=kind: running.passes(one.main[kind]))  # type: ignore[misc]
            yield running
            process.terminate()
            assert process.wait(one.pod["terminationGracePeriodSeconds"]) == 0, log.read_text()
        finally:
            end_group(process)

    return started


@pytest.fixture
def ledger(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.mark.skipif(not can_confine(), reason="this machine lets nobody mount: run as root")
def test_nothing_but_volumes_can_be_written_to(tmp_path: Path) -> None:
    """The protection that the others run under, where it is to be had."""
    (tmp_path / "tmp").mkdir()
    prefix = confined(workload("mlflow"), lambda path: f"{tmp_path}{path}")
    for place, code in ((tmp_path / "tmp" / "file", 0), (tmp_path / "file", 1), (ROOT / "file", 1)):
        done = subprocess.run([*prefix, "touch", str(place)], capture_output=True, check=False)
        assert (done.returncode, place.exists()) == (code, code == 0)


def test_the_embedded_server_before_anything_was_published(start: Start) -> None:
    secrets = {"LEARNLOOP_SERVING_TOKENS": TOKEN, "LEARNLOOP_PSEUDONYM_KEYS": f"2026:{TOKEN}"}
    with start("embedded-server", **secrets) as server:
        assert server.ports.keys() == {"rest", "grpc"}


def test_the_listener(start: Start, ledger: str, broker: str) -> None:
    airflow = {"LEARNLOOP_AIRFLOW_USER": "listener", "LEARNLOOP_AIRFLOW_PASSWORD": TOKEN}
    with start("retrain-listener", LEARNLOOP_LEDGER=ledger, LEARNLOOP_RABBITMQ=broker, **airflow):
        pass


def test_the_collector(start: Start, ledger: str) -> None:
    with kafka_cluster() as address:
        values = {
            EVENT_KEY: "0" * 62 + "2a",
            "LEARNLOOP_KAFKA_BOOTSTRAP_SERVERS": address,
            "LEARNLOOP_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "LEARNLOOP_KAFKA_SASL_USERNAME": "collector",
            "LEARNLOOP_KAFKA_SASL_PASSWORD": TOKEN,
        }
        with start("event-collector", LEARNLOOP_LEDGER=ledger, **values) as collector:
            told = f"Collecting learner-events from {address} into"
            collector.wait(lambda: told in collector.log.read_text())


def test_features_are_materialized_and_served(
    start: Start, ledger: str, redis_server: RedisServer
) -> None:
    values = {
        "LEARNLOOP_LEDGER": ledger,
        "LEARNLOOP_PSEUDONYM_KEYS": f"2026:{TOKEN}",
        "LEARNLOOP_FEATURES_ONLINE": redis_server.new_database(),
    }
    with start("feature-materializer", **values) as materializer:
        materializer.wait(lambda: "Materializing " in materializer.log.read_text())
    with start("feature-server", LEARNLOOP_FEATURES_TOKENS=TOKEN, **values) as server:
        assert "https://127.0.0.1:" in server.log.read_text()


def test_both_of_airflows_drivers_demand_tls(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address cannot: asyncpg does not know ``sslmode``. This PostgreSQL has no TLS."""
    one = workload("airflow-api-server")
    monkeypatch.setenv("PGSSLMODE", one.environment(one.main)["PGSSLMODE"])
    with pytest.raises(sa.exc.OperationalError, match="server does not support SSL"):
        sa.create_engine(postgres.url()).connect()
    with pytest.raises(ConnectionError, match="rejected SSL upgrade"):
        asyncio.run(asyncpg.connect(postgres.url().replace("+psycopg2", "")))


def test_what_is_on_record_is_told(start: Start, ledger: str, redis_server: RedisServer) -> None:
    redis = redis_server.new_database()
    with start("learnloop-metrics", LEARNLOOP_LEDGER=ledger, LEARNLOOP_FEATURES_ONLINE=redis):
        pass


def test_mlflow_answers_to_its_services_name(start: Start) -> None:
    """Its security middleware refuses requests that name another host."""
    values = {
        "MLFLOW_BACKEND_STORE_URI": "sqlite:////tmp/mlflow.db",
        "MLFLOW_ARTIFACTS_DESTINATION": "/tmp/artifacts",
    }
    with start("mlflow", **values) as mlflow:
        url = f"http://127.0.0.1:{mlflow.ports['http']}/api/2.0/mlflow/experiments/get-by-name"
        answers = {}
        for host in ("mlflow:5000", "elsewhere:5000"):
            asked = urllib.request.Request(f"{url}?experiment_name=Default", headers={"Host": host})
            try:
                with urllib.request.urlopen(asked) as answer:
                    answers[host] = answer.status
            except urllib.error.HTTPError as refused:
                answers[host] = refused.code
        assert answers == {"mlflow:5000": 200, "elsewhere:5000": 403}
