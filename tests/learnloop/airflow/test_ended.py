"""How a run of Airflow's ended is read from its steps, and written once."""

from __future__ import annotations

import pytest

from learnloop.airflow.ended import end_run, run_status
from learnloop.airflow.run_id import ledger_run_id
from learnloop.ledger import Ledger, open_ledger
from learnloop.settings import Settings


@pytest.mark.parametrize(
    ("steps", "unfinished", "status"),
    [
        (["done", "cached"], "failed", "done"),
        (["done", "refused", "pending"], "failed", "refused"),
        (["refused", "failed"], "cancelled", "failed"),
        (["failed", "cancelled"], "failed", "cancelled"),
        (["done", "running"], "failed", "failed"),
        (["done", "pending"], "cancelled", "cancelled"),
    ],
)
def test_run_status(steps: list[str], unfinished: str, status: str) -> None:
    assert run_status(steps, unfinished) == status


def start(ledger: Ledger, run_id: str) -> None:
    ledger.start_run(
        run_id,
        "sums",
        {},
        [("make", "steps:make"), ("add", "steps:add")],
        [("make", "add")],
        runner="airflow",
        user="ada",
        git_commit="",
        cause="test",
    )


def test_a_task_that_died_leaves_no_run_open(settings: Settings) -> None:
    ledger = open_ledger(settings.ledger_url)
    name = ledger_run_id("sums", "manual__1")
    start(ledger, name)
    ledger.begin(name, "make", "0" * 64, {})
    end_run("sums", "manual__1", "failed")
    assert ledger.run(name).status == "failed"
    assert [(one.status, one.reasons) for one in ledger.executions(name)] == [
        ("failed", ("The process that ran this attempt ended without a word.",)),
        ("skipped", ()),
    ]


def test_a_run_that_a_person_ended_is_cancelled(settings: Settings) -> None:
    ledger = open_ledger(settings.ledger_url)
    name = ledger_run_id("sums", "manual__1")
    start(ledger, name)
    ledger.begin(name, "make", "0" * 64, {})
    end_run("sums", "manual__1", "cancelled")
    assert ledger.run(name).status == "cancelled"
    assert [one.status for one in ledger.executions(name)] == ["cancelled", "cancelled"]


def test_a_run_set_going_again_is_no_longer_asked_to_stop(settings: Settings) -> None:
    """A person cancels a run and later clears its tasks in Airflow: they must run."""
    ledger = open_ledger(settings.ledger_url)
    start(ledger, "sums~1")
    ledger.request_cancel("sums~1")
    start(ledger, "sums~1")
    assert ledger.is_cancel_requested("sums~1"), "while it runs the wish stands"
    end_run("sums", "1", "cancelled")
    start(ledger, "sums~1")
    assert ledger.run("sums~1").status == "running"
    assert not ledger.is_cancel_requested("sums~1")


def test_runs_of_other_dags_are_left_alone(settings: Settings) -> None:
    ledger = open_ledger(settings.ledger_url)
    start(ledger, "sums~manual__1")
    end_run("other", "manual__1", "failed")
    end_run("sums", "manual__", "failed")
    assert ledger.run("sums~manual__1").status == "running"
