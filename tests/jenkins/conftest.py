"""A small site to deliver to: a registry, published models, the embedded server and its callers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from learnloop.ledger import open_ledger
from learnloop.ledger.journal import read_journal
from learnloop.settings import Settings
from serving.embedded import EmbeddedServer, embedded_server
from serving.moves import SERVING
from serving.places import open_place
from serving.registry import CHAMPION, Aliases
from serving.server.protos import saved_model_pb2, types_pb2
from serving.state import ModelRollout
from tests.jenkins.jenkins import PROGRAMS, Agent
from tests.serving.judged import publish_judged
from tests.serving.server.tiny_models import write_version

METRICS = "/monitoring/prometheus/metrics"


def write_brittle_version(base: Path, version: int) -> Path:
    """Write a version that answers as the others do, and fails on numbers below zero."""
    folder = write_version(base, version)
    file = folder / "saved_model.pb"
    document = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (meta,) = document.meta_graphs
    for name, operation, inputs in (
        ("root", "Sqrt", ("x",)),
        ("checked", "CheckNumerics", ("root",)),
        ("nothing", "Sub", ("checked", "checked")),
        ("sum", "AddV2", ("y", "nothing")),
    ):
        node = meta.graph_def.node.add(name=name, op=operation, input=inputs)
        node.attr["T"].type = types_pb2.DT_FLOAT
    meta.graph_def.node[-3].attr["message"].s = b"below zero"
    meta.signature_def["serving_default"].outputs["y"].name = "sum:0"
    file.write_bytes(document.SerializeToString())
    return folder


@dataclass(frozen=True)
class Site:
    """Where models are registered, published and served.

    Args:
        settings: Of the project.
        agent: Where builds run.
        server: The embedded server.
    """

    settings: Settings
    agent: Agent
    server: EmbeddedServer

    def publish(self, name: str, *weights: float, brittle: int = 0, is_good: bool = True) -> None:
        """Publish a version for each weight, that of the last one's trial among them.

        Args:
            name: The model's name.
            weights: The share of callers by version; 0 puts it into service.
            brittle: The version that fails on numbers below zero.
            is_good: Whether the last version's run blesses it.
        """
        publish(self.settings, name, weights, brittle, is_good)
        rows = self.agent.folder / "jenkins" / "rows" / f"{name}.json"
        rows.write_text('[{"x": 3.0}]')

    def state(self, name: str) -> ModelRollout:
        """Which version callers get."""
        return open_place(self.settings).read().model(name)

    def champion(self, name: str) -> str | None:
        """The version that the registry's alias names."""
        return Aliases(self.settings.mlflow_uri).alias_version(name, CHAMPION)

    def journal(self, name: str) -> list[tuple[str, str]]:
        """The moves of a model, and why."""
        entries = read_journal(open_ledger(self.settings.ledger_url), SERVING, name)
        return [(entry.document["move"], entry.document["why"]) for entry in entries]

    def weights(self, name: str) -> list[list[int]]:
        """How the gateway was told to weigh stable and canary, each time in turn."""
        applied = (self.agent.folder / "applied").read_text().splitlines()
        routes = [json.loads(words) for words in applied]
        return [
            [backend["weight"] for backend in route["spec"]["rules"][0]["backendRefs"]]
            for route in routes
            if route["metadata"]["name"] == f"learnloop-{name}"
            and route["spec"]["parentRefs"] == [{"name": "campus"}]
        ]

    @contextlib.contextmanager
    def callers(self, name: str, numbers: Sequence[float]) -> Iterator[Callable[[int], None]]:
        """Have callers ask for both labels, in turn, about numbers; give what waits for answers."""
        host = self.server.rest_url.partition("://")[2]
        is_over = threading.Event()
        answered = 0

        def ask() -> None:
            nonlocal answered
            with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as connection:
                while not is_over.is_set():
                    for label in ("stable", "canary"):
                        body = json.dumps({"instances": [numbers[answered % len(numbers)]]})
                        path = f"/v1/models/{name}/labels/{label}:predict"
                        connection.request("POST", path, body)
                        connection.getresponse().read()
                    answered += 1
                    time.sleep(0.002)

        def wait_for(more: int) -> None:
            until = answered + more
            while answered < until:
                assert thread.is_alive()
                time.sleep(0.01)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        try:
            yield wait_for
        finally:
            is_over.set()
            thread.join(60)


def publish(
    settings: Settings, name: str, weights: Sequence[float], brittle: int = 0, is_good: bool = True
) -> None:
    """See :meth:`Site.publish`."""

    def saved_model(version: int) -> Path:
        write: Any = write_brittle_version if version == brittle else write_version
        return write(settings.home_folder / "made" / name, version)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEARNLOOP_PROJECT", str(settings.home_folder.parent))
        for number, weight in enumerate(weights, 1):
            blessed = is_good or number < len(weights)
            publish_judged(settings, saved_model, name=name, is_good=blessed, weight=weight)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site; tests use models of their own."""
    project = tmp_path_factory.mktemp("site")
    (project / "learnloop.toml").write_text("serving_poll = 0.2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEARNLOOP_PROJECT", str(project))
        settings = Settings(
            home=project / ".learnloop",
            serving=str(project / "models"),
            ledger=f"sqlite:///{project / '.learnloop' / 'ledger.db'}",
            mlflow=f"sqlite:///{project / '.learnloop' / 'mlflow' / 'mlflow.db'}",
        )
    publish(settings, "first", [0.0])
    kubectl = project / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(
        '#!/bin/sh\n[ "$*" = "apply --filename -" ] && tr -d "\\n" >>applied && echo >>applied\n'
    )
    kubectl.chmod(0o755)
    with embedded_server(project / "models" / "models.config", project / "server.log") as server:
        agent = Agent(
            tmp_path_factory.mktemp("workspace"),
            {
                "LEARNLOOP_PROJECT": str(project),
                "SERVING_GRPC": server.grpc_url,
                "SERVING_STABLE_METRICS": server.rest_url + METRICS,
                "SERVING_CANARY_METRICS": server.rest_url + METRICS,
                "WATCH_EVERY": "0.2",
                "GATEWAY": "campus",
                "PATH": f"{kubectl.parent}{os.pathsep}{PROGRAMS}",
            },
            {
                "learnloop-ledger": settings.ledger,
                "learnloop-mlflow": settings.mlflow,
                "learnloop-serving-token": "",
            },
        )
        yield Site(settings, agent, server)
