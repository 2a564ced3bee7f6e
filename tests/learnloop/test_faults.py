"""Processes killed at every place where it could hurt; disks, S3 and databases that fail."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.retries import standard

from learnloop import garbage
from learnloop.cli.main import main
from learnloop.errors import LearnLoopError
from learnloop.garbage import collect_garbage
from learnloop.ledger import connecting, open_ledger
from learnloop.pipeline import Pipeline
from learnloop.runner import Run, run_pipeline
from learnloop.settings import Settings
from learnloop.step import _Execution
from learnloop.store import open_store
from tests import servers
from tests.fault_proxy import FaultProxy, every, fault_proxy
from tests.learnloop import dying, steps

PARAMETERS = {"start": 3, "length": 2, "more": 4}
STEPS = 4


def run(settings: Settings, pipeline: Pipeline[...] = steps.sums, **parameters: object) -> Run:
    return run_pipeline(pipeline, parameters or PARAMETERS, settings=settings)


def digests(run: Run) -> dict[str, str]:
    return {
        f"{step}.{name}": record.content_digest
        for step, result in run.results.items()
        for name, record in result.outputs.items()
        if record is not None
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of a run that nothing happened to."""
    home = tmp_path_factory.mktemp("undisturbed")
    return digests(run(Settings(home=home)))


def published(settings: Settings) -> set[str]:
    store = open_store(settings.store_location, str(settings.home_folder))
    return {execution.rpartition("/")[2] for execution in store.executions()}


def on_record(settings: Settings) -> set[str]:
    """The executions that, by the ledger, made something."""
    ledger = open_ledger(settings.ledger_url)
    return {
        step.id
        for one in ledger.runs()
        for step in ledger.executions(one.id)
        if step.location is not None
    }


AT_STEPS = [("learnloop.runner:execute_step", "before", step) for step in range(1, STEPS + 1)]
IN_A_STEP = [
    ("learnloop.ledger:Ledger.start_run", "after", 1),
    ("learnloop.ledger:Ledger.begin", "after", 2),
    ("learnloop.step:_Execution._call", "before", 2),
    ("learnloop.artifacts.kinds:_Document.write", "before", 2),
    ("learnloop.artifacts.kinds:_Document.write", "after", 2),
    ("learnloop.step:_Execution._describe", "before", 2),
    ("learnloop.store.local:Manifest.to_json", "after", 2),
    ("learnloop.store.local:LocalStore.publish", "after", 2),
    ("learnloop.ledger:Ledger.transaction", "inside", 5),
    ("learnloop.ledger:Ledger.finish", "after", 2),
    ("learnloop.ledger:Ledger.end_run", "before", 1),
]


@pytest.mark.parametrize(("place", "moment", "call"), AT_STEPS + IN_A_STEP)
def test_killed_on_a_disk(
    settings: Settings,
    tmp_path: Path,
    undisturbed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    moment: str,
    call: int,
) -> None:
    check_kill(settings, tmp_path, undisturbed, monkeypatch, (place, moment, call))


@pytest.fixture
def on_s3(settings: Settings, s3_endpoint: str) -> Settings:
    """The settings of a project whose store is on S3."""
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=(name := "faults"))
    return settings.model_copy(update={"store": f"s3://{name}/{uuid.uuid4().hex}"})


@pytest.mark.parametrize(
    ("place", "moment", "call"),
    [
        ("learnloop.store.s3:S3Store._put_manifest", "before", 2),
        ("learnloop.store.s3:S3Store._put_manifest", "after", 2),
    ],
)
def test_killed_on_s3(
    on_s3: Settings,
    tmp_path: Path,
    undisturbed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    moment: str,
    call: int,
) -> None:
    monkeypatch.setenv("LEARNLOOP_STORE", on_s3.store)
    check_kill(on_s3, tmp_path, undisturbed, monkeypatch, (place, moment, call))


def check_kill(
    settings: Settings,
    folder: Path,
    undisturbed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    kill: tuple[str, str, int],
) -> None:
    """A run dies; no reader sees half of anything; the same run again gives equal results."""
    with dying.reader(settings, folder):
        process = dying.start(dying.run_and_die, *kill, PARAMETERS)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        died = open_ledger(settings.ledger_url).run("latest")
        assert died.status == "running", "it had no time to say that it ends"
        ended = run(settings)
    assert ended.status == "done"
    assert digests(ended) == undisturbed
    assert open_ledger(settings.ledger_url).run(died.id).status == "failed"
    monkeypatch.setattr(garbage, "ABANDONED_SECONDS", -5.0)
    collect_garbage(settings, keep_days=0.0, keep_runs=10, dry_run=False)
    assert published(settings) == on_record(settings), "what nobody recorded is gone"
    for place in ("staging", "scratch", "store/staging"):
        assert list((settings.home_folder / place).glob("*")) == []
    again = run(settings)
    assert {result.status for result in again.results.values()} == {"cached"}
    assert digests(again) == undisturbed


@pytest.fixture
def proxy(
    on_s3: Settings, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    """S3 behind a proxy; boto3 tries again as often as ever, but without its long pauses."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.001)
    with fault_proxy(s3_endpoint) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


def test_s3_that_fails_now_and_then_changes_nothing(
    on_s3: Settings, proxy: FaultProxy, undisturbed: dict[str, str]
) -> None:
    proxy.fault = every(4)
    ended = run(on_s3)
    assert ended.error is None
    assert digests(ended) == undisturbed
    assert proxy.failed > 5
    assert {result.status for result in run(on_s3).results.values()} == {"cached"}


def test_s3_that_does_not_recover_fails_the_run(
    on_s3: Settings, proxy: FaultProxy, undisturbed: dict[str, str]
) -> None:
    """From the second step's manifest on nothing is answered but 503."""
    manifests: list[str] = []

    def fault(method: str, path: str) -> str:
        if method == "PUT" and path.endswith("manifest.json"):
            manifests.append(path)
        return "503" if len(manifests) > 1 else ""

    proxy.fault = fault
    began = time.monotonic()
    ended = run(on_s3)
    assert time.monotonic() - began < 120
    assert ended.status == "failed"
    execution = manifests[1].removesuffix("manifest.json")
    assert str(ended.error) == (
        "S3 did not do as asked.\n"
        f"  where:    s3:/{execution}\n"
        "  received: An error occurred (SlowDown) when calling the PutObject operation "
        "(reached max retries: 4): Please reduce your request rate.\n"
        "  next:     check AWS_ENDPOINT_URL, the credentials and the bucket, then run again"
    )
    assert list((on_s3.home_folder / "staging").iterdir()) == []
    proxy.fault = lambda method, path: ""
    assert published(on_s3) == on_record(on_s3)
    assert len(published(on_s3)) == 1
    again = run(on_s3)
    assert [result.status for result in again.results.values()] == ["cached", *["done"] * 3]
    assert digests(again) == undisturbed


@dataclass(frozen=True)
class Volume:
    """A small disk of its own.

    Args:
        path: Where it is mounted.
    """

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def break_down(self, fault: str) -> None:
        """Fill it, or make it read-only."""
        if fault == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)
            return
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * 4096)
            except OSError:
                pass

    def mend(self) -> None:
        """Make it as it was."""
        subprocess.run(["mount", "-o", "remount,rw", str(self.path)], check=True)
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    """A disk of 2 MiB in memory."""
    path = tmp_path / "volume"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"only root may mount a small disk: {mounted.stderr.strip()}")
    yield Volume(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


FULL = """The disk is full.
  where:    {where}
  next:     free some space, for example with: learnloop gc
"""
READ_ONLY = """The file system is read-only.
  where:    {volume}/{where}
  next:     mount it writable, or set LEARNLOOP_HOME
"""
NO_LEDGER = """The ledger's database did not do as asked.
  where:    sqlite:///{volume}/ledger.db
  received: {where}
  next:     check that the database runs and has space, then run the same command again
"""


@pytest.mark.parametrize(
    ("place", "fault", "message", "where"),
    [
        ("store", "full", FULL, "step 'make'"),
        ("store", "read-only", READ_ONLY, "store/staging/ID"),
        ("home", "full", FULL, "{volume}/home/reports/RUN.html"),
        ("home", "read-only", READ_ONLY, "home/logs/RUN"),
        ("ledger", "full", NO_LEDGER, "database or disk is full"),
        ("ledger", "read-only", NO_LEDGER, "unable to open database file"),
    ],
)
def test_a_disk_that_fails(
    settings: Settings,
    volume: Volume,
    undisturbed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    fault: str,
    message: str,
    where: str,
) -> None:
    """It fails after the first run and before one that has more to do; then it is mended."""
    named = {
        "store": str(volume.path / "store"),
        "home": str(volume.path / "home"),
        "ledger": f"sqlite:///{volume.path}/ledger.db",
    }
    monkeypatch.setenv(f"LEARNLOOP_{place.upper()}", named[place])
    if place == "home":
        monkeypatch.setenv("LEARNLOOP_STORE", str(settings.home_folder / "store"))
        monkeypatch.setenv("LEARNLOOP_LEDGER", f"sqlite:///{settings.home_folder}/ledger.db")
    settings = Settings()
    project = Path(os.environ["LEARNLOOP_PROJECT"])
    (project / "small").mkdir()
    (project / "small" / "sums.py").write_text("from tests.learnloop.steps import sums\n")
    monkeypatch.setenv("LEARNLOOP_PIPELINES", '["small"]')
    run(settings, start=1, length=2, more=4)
    if fault == "read-only":  # which a file that is open for writing forbids
        open_ledger(settings.ledger_url)._engine.dispose()
    volume.break_down(fault)
    command = ["run", "sums", *(f"--set={name}={value}" for name, value in PARAMETERS.items())]
    with pytest.raises(SystemExit) as ended:
        main(command)
    error = capsys.readouterr().err
    volume.mend()
    assert ended.value.code == 3
    error = re.sub(r"sums-\d{8}-\d{6}-[0-9a-f]{4}", "RUN", error[error.index("The ") :])
    error = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", error)
    assert error == message.format(volume=volume.path, where=where.format(volume=volume.path))
    assert published(settings) == on_record(settings)
    assert list(Path(settings.store_location).glob("staging/*")) == []
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    assert digests(run(settings)) == undisturbed


class Mortal:
    """A private PostgreSQL that may be killed and started again on the same data.

    Args:
        server: The server that runs.
        folder: Where its logs go.
    """

    def __init__(self, server: servers.PostgresServer, folder: Path) -> None:
        self.server = server
        self.process = server.process
        self._folder = folder
        self._stack = contextlib.ExitStack()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=20)

    def revive(self) -> None:
        """Start it and wait until it has recovered."""
        command: Any = self.server.process.args
        user = "postgres" if os.geteuid() == 0 else None
        log = self._folder / f"log-{time.monotonic_ns()}"
        again = servers.running(command, self.server.port, log, user=user, stop=signal.SIGINT)
        self.process = self._stack.enter_context(again)
        self.server.wait()

    def end(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    """A PostgreSQL of this module's own."""
    folder = tmp_path_factory.mktemp("mortal")
    with servers.postgres_server(folder) as server:
        database = Mortal(server, folder)
        yield database
        database.end()


def on_mortal(settings: Settings, mortal: Mortal) -> Settings:
    url = mortal.server.new_database().replace("postgres@", "postgres:se-cret@")
    return settings.model_copy(update={"ledger": url})


def test_a_database_that_goes_away_and_comes_back(
    settings: Settings,
    mortal: Mortal,
    undisturbed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = on_mortal(settings, mortal)
    monkeypatch.setattr(connecting, "PATIENCE_SECONDS", 0.5)
    calls: list[str] = []
    call = _Execution._call

    def lose_the_database(self: _Execution, *arguments: Any) -> Any:
        calls.append(self.spec.step)
        if len(calls) == 2:
            mortal.kill()
        return call(self, *arguments)

    monkeypatch.setattr(_Execution, "_call", lose_the_database)
    with pytest.raises(LearnLoopError) as caught:
        run(settings)
    port, database = mortal.server.port, settings.ledger.rpartition("/")[2]
    assert str(caught.value) == (
        "The ledger's database did not do as asked.\n"
        f"  where:    postgresql+psycopg2://postgres:***@127.0.0.1:{port}/{database}\n"
        f'  received: connection to server at "127.0.0.1", port {port} failed: '
        "Connection refused\n"
        "  next:     check that the database runs and has space, then run the same command again"
    )
    mortal.revive()
    ended = run(settings)
    ledger = open_ledger(settings.ledger_url)
    assert [one.status for one in ledger.runs()] == ["done", "failed"]
    assert digests(ended) == undisturbed
    assert ended.results["make"].status == "cached"
    ledger._engine.dispose()


def test_a_database_that_is_away_for_a_moment_costs_no_work(
    settings: Settings, mortal: Mortal
) -> None:
    """It goes while a step works and tells how far it is, and is back after the step has ended."""
    settings = on_mortal(settings, mortal)
    ended: list[Run] = []
    thread = threading.Thread(
        target=lambda: ended.append(run(settings, steps.slow, seconds=1.5, timeout=None))
    )
    thread.start()
    ledger = open_ledger(settings.ledger_url)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = ledger.runs()
        if found and ledger.executions(found[0].id)[1].status == "running":
            break
        time.sleep(0.02)
    mortal.kill()
    time.sleep(2.5)
    mortal.revive()
    thread.join(60)
    assert [one.error for one in ended] == [None]
    assert ended[0].status == "done"
    ledger._engine.dispose()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_two_processes_run_one_pipeline_at_once(
    settings: Settings,
    request: pytest.FixtureRequest,
    undisturbed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    database: str,
) -> None:
    if database == "postgresql":
        new_database: Callable[[], str] = request.getfixturevalue("new_postgres_database")
        monkeypatch.setenv("LEARNLOOP_LEDGER", new_database())
    processes = [dying.start(dying.run, PARAMETERS) for _ in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    ended = run(Settings())
    assert {result.status for result in ended.results.values()} == {"cached"}
    assert digests(ended) == undisturbed
    assert len(open_ledger(Settings().ledger_url).runs()) == 3
