"""Every command, request and program of ``docs/predictions.md``, and what they print."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from feature_store.pseudonyms import KEYS_VARIABLE, load_keyring
from learnloop.errors import UsageError
from learnloop.settings import Settings
from serving.embedded import EmbeddedServer, embedded_server
from serving.moves import Mover
from serving.publish import Publication
from tests.docs.test_guides import BLOCK, ROOT, Reader
from tests.serving.server.tiny_models import write_version

GUIDE = (ROOT / "docs" / "predictions.md").read_text()
REST, GRPC = "http://127.0.0.1:8501", "grpc://127.0.0.1:8500"
"""The guide's addresses; others take their place."""


@dataclass(frozen=True)
class Consumer(Reader):
    """Also asks over HTTP, and starts and ends the server."""

    running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    servers: list[EmbeddedServer] = field(default_factory=list)

    def do(self, kind: str, text: str) -> str:
        """Do what a block says; give what was printed."""
        if kind == "http":
            return self._ask(text)
        if text == "learnloop serve\n":
            log = self.project / "server.log"
            source = self.project / "models" / "models.config"
            self.servers.append(
                self.running.enter_context(embedded_server(source, log, 240, "raw"))
            )
            return ""
        for theirs, ours in ((REST, "rest_url"), (GRPC, "grpc_url")):
            text = text.replace(theirs, getattr(self.servers[0], ours))
        if kind == "python":
            if "read_predictions" in text:
                self.running.close()
            return self.type(["python", "-c", text])
        return "".join(self.type(shlex.split(line)) for line in text.splitlines())

    def _ask(self, text: str) -> str:
        head, _, body = text.partition("\n\n")
        method, path = head.split()
        address = self.servers[0].rest_url.partition("://")[2]
        with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
            connection.request(method, path, body or None)
            return connection.getresponse().read().decode()

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {KEYS_VARIABLE: f"2026:{'k' * 32}"}


@pytest.fixture
def consumer(settings: Settings, tmp_path: Path) -> Iterator[Consumer]:
    version = write_version(tmp_path / "exports", 1)
    Mover(settings).push("demo", Publication(version, 1, "demo", {}), why="a guide needs it")
    consumer = Consumer(settings.serving_folder.parent)
    with consumer.running:
        yield consumer


@pytest.mark.timeout(600)
def test_the_guide_of_predictions(consumer: Consumer) -> None:
    printed, checked = "", 0
    for kind, file, text in BLOCK.findall(GUIDE):
        if file:
            (consumer.project / file).parent.mkdir(exist_ok=True)
            (consumer.project / file).write_text(text)
        elif kind in ("console", "http", "python"):
            printed = consumer.do(kind, text)
        elif kind == "json":
            assert json.loads(printed) == json.loads(text)
            checked += 1
        elif kind == "text":
            assert printed == text
            checked += 1
    assert checked == 10


def test_the_key_is_made_as_its_absence_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    with pytest.raises(UsageError) as caught:
        load_keyring()
    (block,) = (text for kind, _, text in BLOCK.findall(GUIDE) if kind == "sh")
    assert block == f"{caught.value.next}\n"
    subprocess.run(["bash", "-n", "-c", block], check=True)


def test_the_guide_names_every_column_and_metric() -> None:
    from serving.prediction_log.columns import base_schema
    from serving.prediction_log.log import LogCounts

    told = set(re.findall(r"`([\w.]+)`", GUIDE.partition("## What is kept")[2]))
    assert {*base_schema().names, "feature.NAME", "answer.NAME"} <= told
    metrics = {f"learnloop_prediction_log_{name}_total" for name in LogCounts.__annotations__}
    assert {name for name in told if name.startswith("learnloop_prediction")} <= metrics
