"""Runs on this machine: one at a time; what is wrong is told from what may be tried again."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from learnloop.ledger import open_ledger
from learnloop.settings import Settings
from messaging.listener.local import LocalTarget
from messaging.listener.target import Answer, Reply
from messaging.records import Decision, State
from tests.messaging.conftest import wait_until
from tests.messaging.requests import NOON, message_id
from tests.messaging.test_command import PIPELINE


@pytest.fixture
def target(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalTarget:
    package = tmp_path / "project" / "local_pipelines"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "asked.py").write_text(PIPELINE)
    (tmp_path / "project" / "learnloop.toml").write_text('pipelines = ["local_pipelines"]\n')
    return LocalTarget(Settings())


def approved(number: int, **changed: object) -> Decision:
    decision = Decision(
        id=message_id(number),
        pipeline="asked",
        parameters={},
        parameters_digest="",
        reason="schedule",
        requested_by="cron",
        state=State.approved,
        sentence="Run: there was no run before.",
        rules=(),
        decided=NOON,
        run_id=f"retrain-{message_id(number)}",
    )
    return replace(decision, **changed)  # type: ignore[arg-type]  # fields by name


def test_a_run_is_made_once_however_often_it_is_asked_for(target: LocalTarget) -> None:
    assert target.create(approved(1)) == Reply(Answer.started)
    ledger = open_ledger(Settings().ledger_url)
    wait_until(lambda: ledger.run(f"retrain-{message_id(1)}").status == "done")
    again = LocalTarget(Settings()).create(approved(1))
    assert again == Reply(Answer.started, "the run was there already")
    (run,) = ledger.runs()
    assert (run.user, run.cause) == (
        "cron",
        f"message {message_id(1)} (schedule, asked by cron). Run: there was no run before.",
    )


def test_what_is_wrong_is_told_by_the_runs_process(target: LocalTarget) -> None:
    reply = target.create(approved(1, parameters={"share": "a lot"}))
    assert reply.answer is Answer.rejected
    assert reply.said.startswith("Parameter 'share' does not fit")
    reply = target.create(approved(2, pipeline="aske"))
    assert reply.answer is Answer.rejected
    assert "did you mean 'asked'?" in reply.said


def test_one_run_at_a_time(target: LocalTarget) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(sleep) as busy:
        target._child, target._run_id = busy, "retrain-7"
        busy_reply = Reply(Answer.unavailable, "this machine is busy with run retrain-7")
        assert target.create(approved(1)) == busy_reply
        busy.kill()
        busy.wait()
    assert target.create(approved(1)).answer is Answer.started
    ledger = open_ledger(Settings().ledger_url)
    wait_until(lambda: ledger.run(f"retrain-{message_id(1)}").status == "done")
