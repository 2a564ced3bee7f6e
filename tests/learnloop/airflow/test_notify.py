"""A failed run is told to a web hook or a mail server, both real."""

from __future__ import annotations

import json
import logging
import threading

import pytest
from airflow.sdk import Connection

from learnloop.airflow.notify import FailureNotifier, failure_message, send
from learnloop.airflow.runner import run_with_airflow
from learnloop.runner import RunOptions
from learnloop.settings import Settings
from tests.learnloop import steps
from tests.learnloop.airflow.receivers import Hook, MailServer

pytestmark = pytest.mark.xdist_group("airflow")


@pytest.fixture
def refused_run(settings: Settings) -> str:
    run_with_airflow(steps.gated, {}, RunOptions(run_id="gated~7"), settings)
    return "7"


def test_a_web_hook_is_told(
    settings: Settings, refused_run: str, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEARNLOOP_NOTIFY", f"http://127.0.0.1:{hook.server_port}")
    context = {"dag_run": type("Run", (), {"dag_id": "gated"}), "run_id": refused_run}
    FailureNotifier().notify(context)
    assert hook.received == [
        {
            "text": "gated: run gated~7 was refused\n"
            "judge refused: The number is 1, at least 5 is required.\n"
            "learnloop show gated~7"
        }
    ]


def test_a_receivers_fault_is_logged_and_goes_no_further(
    settings: Settings,
    refused_run: str,
    hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "learnloop")
    hook.answer = 500
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", f"http://127.0.0.1:{hook.server_port}")
    context = {"dag_run": type("Run", (), {"dag_id": "gated"}), "run_id": refused_run}
    FailureNotifier("chat").notify(context)
    assert caplog.messages[-1] == (
        "The connection 'chat' did not take it: HTTP Error 500: Internal Server Error"
    )


def test_no_connection_is_no_fault(
    settings: Settings, refused_run: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "learnloop")
    context = {"dag_run": type("Run", (), {"dag_id": "gated"}), "run_id": refused_run}
    FailureNotifier().notify(context)
    assert caplog.messages[-1].startswith("gated: run gated~7 was refused\n")


def test_a_mail_is_sent() -> None:
    with MailServer() as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connection = Connection(
            conn_id="mail",
            conn_type="smtp",
            host="127.0.0.1",
            port=server.server_address[1],
            extra=json.dumps({"to": "teachers@example.org", "from": "learnloop@example.org"}),
        )
        send(connection, "sums: run sums-1 failed", "add failed: the disk is full")
        thread.join()
    assert "Subject: sums: run sums-1 failed" in server.mail
    assert "To: teachers@example.org" in server.mail
    assert "add failed: the disk is full" in server.mail


def test_the_message_of_a_failure(settings: Settings) -> None:
    options = RunOptions(run_id="failing~3")
    run_with_airflow(steps.failing, {"how": "usage"}, options, settings)
    assert failure_message("failing", "3") == (
        "failing: run failing~3 failed",
        "fail failed: The input is bad.\n  where:    here\nlearnloop show failing~3",
    )
