"""``learnloop retrain`` and ``learnloop listen``, as a person and a script use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from learnloop.cli.main import main
from learnloop.ledger import open_ledger
from learnloop.settings import Settings
from messaging.broker import DEAD_QUEUE, QUEUE
from tests.messaging.airflow_stand_in import PASSWORD, USER, AirflowStandIn
from tests.messaging.conftest import count, wait_until
from tests.servers import free_port

pytestmark = pytest.mark.xdist_group("rabbitmq")

PIPELINE = '''"""A pipeline for the tests of messages."""

from learnloop.artifacts import Evaluation
from learnloop.component import Output, component
from learnloop.pipeline import pipeline


@component
def count(counted: Output[Evaluation], *, share: float) -> None:
    """Write a number down."""
    counted.write({"share": share})


@pipeline
def asked(source: str = "here", share: float = 0.5) -> None:
    """Count.

    Args:
        source: Where from.
        share: How much.
    """
    count(share=share)
'''
POLICIES = "[default]\nburst_seconds = 0\n"


@pytest.fixture
def project(
    settings: Settings,
    broker: str,
    airflow: AirflowStandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A project with a pipeline, a broker and Airflow's stand-in."""
    root = tmp_path / "project"
    (root / "asked_pipelines").mkdir()
    (root / "asked_pipelines" / "__init__.py").touch()
    (root / "asked_pipelines" / "asked.py").write_text(PIPELINE)
    (root / "policies.toml").write_text(POLICIES)
    (root / "learnloop.toml").write_text(
        'pipelines = ["asked_pipelines"]\nretrain_delays = [0.1, 0.3]\n'
    )
    monkeypatch.setenv("LEARNLOOP_RABBITMQ", broker)
    monkeypatch.setenv("LEARNLOOP_AIRFLOW", airflow.url)
    monkeypatch.setenv("LEARNLOOP_AIRFLOW_USER", USER)
    monkeypatch.setenv("LEARNLOOP_AIRFLOW_PASSWORD", PASSWORD)
    monkeypatch.syspath_prepend(str(root))
    for name in [name for name in sys.modules if name.startswith("asked_pipelines")]:
        del sys.modules[name]  # that of another test's project
    open_ledger(Settings().ledger_url)
    return root


class Shell:
    """Types commands."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def type(self, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        told = self.capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        return int(ended.value.code or 0), told.out, told.err

    def json(self, *words: str) -> Any:
        code, out, err = self.type(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    def ask(self, *words: str) -> str:
        """Send a request, and give its id."""
        return str(self.json("retrain", "request", "asked", *words)["message_id"])


@pytest.fixture
def shell(project: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


class ListenCommand:
    """``learnloop listen`` in a process of its own."""

    def __init__(self, log: Path, *words: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "learnloop", "listen", "--port", "0", *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.log.read_text()

    @property
    def address(self) -> str:
        wait_until(lambda: "/health" in self.said())
        (line,) = [line for line in self.said().splitlines() if line.endswith("/health")]
        return line.rpartition(" ")[2].removesuffix("/health")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def listening(project: Path, tmp_path: Path) -> Iterator[ListenCommand]:
    command = ListenCommand(tmp_path / "listener.log")
    yield command
    if command.process.poll() is None:
        os.killpg(command.process.pid, signal.SIGKILL)
        command.process.wait()


def test_from_a_request_to_its_explanation(
    shell: Shell, listening: ListenCommand, airflow: AirflowStandIn, broker: str
) -> None:
    name = shell.ask("--set", "share=0.25", "--override", "marks were corrected")
    wait_until(lambda: airflow.runs)
    (run,) = airflow.runs.values()
    assert (run["dag"], run["id"], run["conf"]["share"]) == ("asked", f"retrain-{name}", 0.25)
    wait_until(lambda: "started" in shell.type("retrain", "decisions")[1])
    told = shell.json("retrain", "explain", name)
    assert (told["outcome"], told["pipeline"]) == ("caused", "asked")
    assert told["decision"]["run_id"] == f"retrain-{name}"
    (decision,) = shell.json("retrain", "decisions")
    assert (decision["id"], decision["state"], decision["messages"]) == (name, "started", 1)
    code, out, _ = shell.type("retrain", "explain", f"asked~retrain-{name}")
    first, second, why, run_line, heading, *rules = out.splitlines()
    assert (code, first, run_line) == (0, f"{name} caused", f"run: retrain-{name}")
    assert second.startswith("asked, person, asked by ")
    assert why.endswith("overrides the policy (marks were corrected).")
    assert heading == "rule\tsays\twhy"
    assert [rule.partition("\t")[0] for rule in rules] == [
        "cool-down",
        "budget",
        "new rows",
        "expected gain",
        "quiet hours",
    ]

    again = shell.ask("--reason", "new_data", "--evidence", "new_labelled_rows=9")
    wait_until(lambda: len(shell.json("retrain", "decisions")) == 2)
    assert shell.json("retrain", "explain", again)["outcome"] == "refused"

    with urllib.request.urlopen(f"{listening.address}/health", timeout=30) as answer:
        assert json.load(answer) == {"broker": "up", "ledger": "up", "target": "up"}
    with urllib.request.urlopen(f"{listening.address}/metrics", timeout=30) as answer:
        figures = answer.read().decode()
    assert 'learnloop_retrain_messages_total{outcome="caused"} 1.0' in figures
    assert "learnloop_retrain_ledger_up 1.0" in figures
    assert listening.end() == 0
    assert PASSWORD not in listening.said()
    assert count(broker, QUEUE) == 0


def test_dead_letters_are_sent_again_once_their_cause_is_mended(
    shell: Shell, listening: ListenCommand, airflow: AirflowStandIn, broker: str
) -> None:
    airflow.faults = ["400"]
    name = shell.ask()
    wait_until(lambda: count(broker, DEAD_QUEUE) == 1)
    (letter,) = shell.json("retrain", "dead-letters")
    assert (letter["id"], letter["reason"]) == (name, "Airflow answered 400: a fault")
    queues = shell.json("retrain", "queue")
    assert {name: told["messages"] for name, told in queues.items()} == {
        "retrain": 0,
        "retrain.delayed.100ms": 0,
        "retrain.delayed.300ms": 0,
        "retrain.dead": 1,
    }
    assert queues["retrain"]["consumers"] == 1
    code, out, err = shell.type("retrain", "replay", name, "beef")
    assert code == 2
    assert err == (
        "Not every message was sent again.\n"
        "  expected: ids of dead letters that are no poison\n"
        "  received: beef\n"
        "  next:     learnloop retrain dead-letters\n"
    )
    new = out.splitlines()[1].partition("\t")[2]
    wait_until(lambda: airflow.runs)
    assert [run["id"] for run in airflow.runs.values()] == [f"retrain-{new}"]
    assert count(broker, DEAD_QUEUE) == 0
    wait_until(lambda: shell.json("retrain", "explain", new)["outcome"] == "caused")
    assert shell.json("retrain", "explain", name)["outcome"] == "dead_lettered"
    assert shell.json("retrain", "replay", "--all") == []


def test_without_airflow_the_run_is_made_here(
    shell: Shell, project: Path, tmp_path: Path, broker: str
) -> None:
    command = ListenCommand(tmp_path / "local.log", "--target", "local")
    try:
        wrong = shell.ask("--set", "share=0.25")
        ledger = open_ledger(Settings().ledger_url)
        wait_until(lambda: [run for run in ledger.runs() if run.status == "done"], 120)
        (run,) = ledger.runs()
        assert (run.id, run.runner, run.parameters) == (
            f"retrain-{wrong}",
            "local",
            {"source": "here", "share": 0.25},
        )
        assert run.cause.startswith(f"message {wrong} (person, asked by ")
        wait_until(lambda: shell.json("retrain", "explain", wrong)["outcome"] == "caused")
        assert command.end() == 0
        assert count(broker, QUEUE) == 0
    finally:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()


def test_a_ledger_that_is_away_is_waited_for(
    project: Path, tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNLOOP_LEDGER", f"postgresql+psycopg2://ada@127.0.0.1:{free_port()}/l")
    command = ListenCommand(tmp_path / "waiting.log")
    wait_until(lambda: command.said().count("The ledger cannot be opened.") == 2)
    with pytest.raises(urllib.error.HTTPError, match="503") as caught:
        urllib.request.urlopen(f"{command.address}/health", timeout=30)
    assert json.load(caught.value) == {"broker": "down", "ledger": "down", "target": "up"}
    assert command.end() == 0


MISTAKES = [
    (
        ("request", "askd"),
        "There is no pipeline 'askd'.\n  where:    packages asked_pipelines under {root}\n"
        "  expected: did you mean 'asked'?\n  received: 'askd'\n  next:     learnloop new askd\n",
    ),
    (
        ("request", "asked", "--set", "shares=1"),
        "Pipeline 'asked' has no parameter 'shares'.\n  expected: did you mean 'share'?\n"
        "  received: 'shares'\n",
    ),
    (
        ("request", "asked", "--set", "share=half"),
        "Parameter 'share' does not fit: Input should be a valid number, unable to parse string as "
        "a number.\n  where:    pipeline 'asked'\n  expected: float\n  received: 'half'\n",
    ),
    (
        ("request", "asked", "--evidence", "new_labelled_rows=many"),
        "Evidence is given as JSON.\n  where:    --evidence new_labelled_rows\n"
        "  expected: new_labelled_rows=5120\n  received: 'many'\n"
        "  next:     messaging/schemas/retrain_requested.v1.json has the fields\n",
    ),
    (
        ("request", "asked", "--reason", "drift"),
        "The message does not fit its schema.\n  where:    field 'evidence'\n"
        "  expected: fields drift\n"
        "  next:     messaging/schemas/retrain_requested.v1.json has the schema\n",
    ),
    (
        ("replay",),
        "Say which dead letters to send again.\n  expected: ids, or --all\n"
        "  received: neither\n  next:     learnloop retrain dead-letters\n",
    ),
    (
        ("explain", "beef"),
        "There is no message 'beef'.\n"
        "  expected: the id of a message, a beginning of it, or the id of a run\n"
        "  received: 'beef'\n  next:     learnloop retrain decisions\n",
    ),
]


@pytest.mark.parametrize(("words", "told"), MISTAKES)
def test_a_mistake_is_told(
    shell: Shell, project: Path, broker: str, words: tuple[str, ...], told: str
) -> None:
    code, _, err = shell.type("retrain", *words)
    assert (code, err) == (2, told.replace("{root}", str(project)))
    assert count(broker, QUEUE) == 0


def test_listening_wants_an_airflow(
    shell: Shell, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNLOOP_AIRFLOW", "airflow:8080")
    assert shell.type("listen") == (
        2,
        "",
        "No Airflow is named.\n"
        "  where:    the environment\n"
        "  expected: an http address in LEARNLOOP_AIRFLOW\n"
        "  received: 'airflow:80'\n"
        "  next:     export LEARNLOOP_AIRFLOW=http://127.0.0.1:8080, or learnloop listen --target "
        "local\n",
    )


def test_a_taken_port_is_told(shell: Shell, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert shell.type("listen", "--port", str(port)) == (
            2,
            "",
            "The port of /health and /metrics cannot be had.\n"
            f"  where:    127.0.0.1:{port}\n"
            "  received: Address already in use\n"
            "  next:     learnloop listen --port 0\n",
        )
