"""From a consumer to the prediction log: every client, both protocols, and one real server.

The server is a process of its own with TLS and tokens. It is killed under load, and started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trustme

from feature_store.pseudonyms import KEYS_VARIABLE, load_keyring
from serving.client import (
    AsyncPredictionClient,
    CircuitSettings,
    PredictionClient,
    PredictionError,
    Retries,
    Security,
    pseudonym,
)
from serving.client.endpoint import TOKEN_VARIABLE
from serving.client.subject import IDENTIFIER
from serving.prediction_log import read_predictions
from serving.server.contract import Code
from serving.server.security import TOKENS_VARIABLE
from tests.servers import end_group
from tests.serving.server.memory import eventually
from tests.serving.server.tiny_models import MODEL, write_version

ROOT = Path(__file__).parents[3]
TOKEN = "a-token-that-is-long-enough"
OLD, NEW = f"2025:{'o' * 32}", f"2026:{'n' * 32}"
LEARNER = "learner-who-must-not-be-named"
LINES = re.compile(r"REST  (https://\S+:\d+)/v1/models\n  gRPC  (\S+)$", re.MULTILINE)
PATIENT: dict[str, Any] = {
    "timeout": 240.0,
    "retries": Retries(attempts=100_000, first_seconds=0.02, most_seconds=0.2),
    "circuit": CircuitSettings(open_seconds=0.2),
}
KINDS = [(protocol, is_async) for protocol in ("REST", "gRPC") for is_async in (False, True)]

pytestmark = [pytest.mark.xdist_group("end to end"), pytest.mark.timeout(600)]


class Guarded:
    """``learnloop serve`` with TLS and a token, on the ports that its first start found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "predictions"
        self.urls: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        write_version(folder / "models" / MODEL, 1)
        (folder / "learnloop.toml").touch()
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(str(folder / "authority.pem"))
        server.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        self.security = Security(authority=folder / "authority.pem")

    def start(self) -> None:
        """Start it, unless it runs, and wait until it takes questions."""
        if self.process is not None and self.process.poll() is None:
            return
        ports = [url.rpartition(":")[2] for url in self.urls.values()] or ["0", "0"]
        output = self.folder / "output"
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "learnloop", "serve", "models"),
                    *("--rest-port", ports[0], "--grpc-port", ports[1]),
                    *("--tls-certificate", "server.pem", "--tls-key", "server.pem"),
                ],
                cwd=self.folder,
                env={
                    **{n: v for n, v in os.environ.items() if not n.startswith("LEARNLOOP_")},
                    "PYTHONPATH": str(ROOT),
                    TOKENS_VARIABLE: TOKEN,
                    KEYS_VARIABLE: OLD,
                },
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = self.process
        eventually(lambda: process.poll() is not None or LINES.search(output.read_text()), 240)
        found = LINES.search(output.read_text())
        assert found is not None, output.read_text()
        self.urls = {"REST": found[1], "gRPC": f"grpcs://{found[2]}"}

    def safe_rows(self) -> int:
        """How many predictions the server says are on disk."""
        request = urllib.request.Request(
            f"{self.urls['REST']}/monitoring/prometheus/metrics",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        with urllib.request.urlopen(request, context=self.security.ssl_context()) as page:
            found = re.search(rb"learnloop_prediction_log_logged_total\{\} (\d+)", page.read())
        assert found is not None
        return int(found[1])

    def logged(self, *moments: datetime | None) -> pa.Table:
        """Read what is in the log."""
        return read_predictions(self.log, MODEL, *moments)

    def end(self, kind: signal.Signals) -> int:
        """Send a signal and give the exit code."""
        assert self.process is not None
        self.process.send_signal(kind)
        return self.process.wait(120)

    @contextlib.contextmanager
    def asking(self, protocol: str, is_async: bool, **options: Any) -> Iterator[Callable[..., Any]]:
        """Give the method ``predict`` of a client."""
        url, given = self.urls[protocol], {"security": self.security, **PATIENT, **options}
        if not is_async:
            with PredictionClient(url, **given) as client:
                yield client.predict
            return
        with asyncio.Runner() as runner:
            other = AsyncPredictionClient(url, **given)
            try:
                yield lambda *asked, **more: runner.run(other.predict(*asked, **more))
            finally:
                runner.run(other.close())


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    server = Guarded(tmp_path_factory.mktemp("guarded"))
    try:
        yield server
    finally:
        if server.process is not None:
            end_group(server.process)


@pytest.fixture
def server(started: Guarded, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    for name in [name for name in os.environ if name.startswith("LEARNLOOP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.setenv(KEYS_VARIABLE, OLD)
    started.start()
    return started


@pytest.mark.parametrize(("protocol", "is_async"), KINDS)
def test_who_has_no_token_is_refused(
    server: Guarded, protocol: str, is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "another-token-of-some-length")
    with server.asking(protocol, is_async) as predict, pytest.raises(PredictionError) as caught:
        predict(MODEL, rows=[{"x": 1.0}])
    assert caught.value.code is Code.UNAUTHENTICATED
    assert str(caught.value) == (
        f"The question to {MODEL} was not answered.\n"
        f"  where:    metadata of {MODEL} at {server.urls[protocol]}\n"
        "  expected: an answer\n"
        "  received: UNAUTHENTICATED: A valid bearer token is required, after 1 attempt\n"
        "  next:     export LEARNLOOP_SERVING_TOKEN=…"
    )


@pytest.mark.parametrize(("protocol", "is_async"), KINDS)
def test_an_authority_that_nobody_trusts(server: Guarded, protocol: str, is_async: bool) -> None:
    other = server.folder / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    options = {"security": Security(authority=other), "retries": Retries(attempts=1)}
    with (
        server.asking(protocol, is_async, **options) as predict,
        pytest.raises(PredictionError) as caught,
    ):
        predict(MODEL, rows=[{"x": 1.0}])
    assert caught.value.code is Code.UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)


def test_a_kill_and_a_restart_under_load_are_hidden(server: Guarded) -> None:
    """No caller sees an error; what the server had on disk when it died is in the log."""
    is_over = threading.Event()
    faults: list[BaseException] = []
    answers = dict.fromkeys(KINDS, 0)

    def question(kind: tuple[str, bool]) -> dict[str, Any]:
        return {"rows": [{"x": float(answers[kind])}], "subject": pseudonym("under load")}

    def note(kind: tuple[str, bool], answered: Any) -> None:
        assert answered.scores == [answers[kind] / 2 + 1]
        answers[kind] += 1

    def ask(protocol: str) -> None:
        kind = (protocol, False)
        with server.asking(*kind) as predict:
            while not is_over.is_set():
                note(kind, predict(MODEL, **question(kind)))

    async def ask_without_waiting(protocol: str) -> None:
        kind, url = (protocol, True), server.urls[protocol]
        async with AsyncPredictionClient(url, security=server.security, **PATIENT) as client:
            while not is_over.is_set():
                note(kind, await client.predict(MODEL, **question(kind)))

    async def ask_both() -> None:
        await asyncio.gather(*map(ask_without_waiting, server.urls))

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as fault:
            faults.append(fault)

    def wait_for_more() -> None:
        seen = dict(answers)
        eventually(lambda: bool(faults) or all(answers[k] > seen[k] + 20 for k in KINDS), 240)

    work = [lambda: ask("REST"), lambda: ask("gRPC"), lambda: asyncio.run(ask_both())]
    threads = [threading.Thread(target=guarded, args=(one,), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    try:
        wait_for_more()
        eventually(lambda: server.safe_rows() > 0, 120)
        safe = server.safe_rows()
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        killed = datetime.now(UTC)
        server.start()
        wait_for_more()
    finally:
        is_over.set()
        for thread in threads:
            thread.join(240)
    assert faults == []
    eventually(lambda: len(server.logged(None, killed)) >= safe, 120)
    assert set(server.logged()["subject"].to_pylist()) == {pseudonym("under load")}


def test_predictions_arrive_in_the_log_under_a_pseudonym(
    server: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of pseudonyms rotates in between, and who asks that it be so leaves no features."""
    began = datetime.now(UTC)
    versions = set()
    for protocol, is_async in KINDS:
        with server.asking(protocol, is_async) as predict:
            monkeypatch.setenv(KEYS_VARIABLE, OLD)
            subjects = [pseudonym(LEARNER), pseudonym("another")]
            two = predict(MODEL, rows=[{"x": 8.0}, {"x": 3.0}], subject=subjects)
            monkeypatch.setenv(KEYS_VARIABLE, f"{NEW},{OLD}")
            one = predict(
                MODEL, columns={"x": [5.0]}, subject=pseudonym(LEARNER), log_features=False
            )
        assert (two.scores, one.scores) == ([5.0, 2.5], [3.5])
        versions.add((protocol, two.version))
    assert versions == {("REST", None), ("gRPC", 1)}, "REST does not tell"
    assert server.end(signal.SIGTERM) == 0
    rows = server.logged(began).sort_by([("score", "ascending")])
    assert rows["score"].to_pylist() == [2.5] * 4 + [3.5] * 4 + [5.0] * 4
    assert rows["feature.x"].to_pylist() == [3.0] * 4 + [None] * 4 + [8.0] * 4
    assert set(rows["version"].to_pylist()) == {1}
    digests = rows["digest"].to_pylist()
    assert digests[:4] == digests[8:] == [None] * 4
    assert len(set(digests[4:8])) == 1, "equal rows can be told"
    assert re.fullmatch("[0-9a-f]{32}", digests[4])
    subjects = rows["subject"].to_pylist()
    pseudonyms = load_keyring().every_pseudonym(IDENTIFIER, LEARNER)
    assert [one.partition(".")[0] for one in pseudonyms] == ["2026", "2025"]
    assert subjects[4:] == [pseudonyms[0]] * 4 + [pseudonyms[1]] * 4
    texts = [c for c in rows.columns if pa.types.is_string(c.type)]
    assert not any(LEARNER in (text or "") for column in texts for text in column.to_pylist())
    assert LEARNER not in (server.folder / "output").read_text()
