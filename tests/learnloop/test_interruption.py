"""Steps that are ended in the middle, wherever they are."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time

import pytest
from sqlalchemy import create_engine, event

from learnloop.errors import RunCancelled
from learnloop.interruption import (
    Cancellation,
    StepTimedOut,
    TimeIsOver,
    explain_interruptions,
    interrupt,
    time_limit,
)


def test_time_that_is_over_ends_the_block() -> None:
    began = time.monotonic()
    with pytest.raises(StepTimedOut) as told, time_limit(0.05):
        while time.monotonic() < began + 30:
            time.sleep(0.001)
    assert str(told.value) == "The step took longer than its timeout."
    assert time.monotonic() < began + 30


def test_a_block_within_its_time_is_left_alone() -> None:
    with time_limit(None):
        pass
    with time_limit(0.05):
        pass
    time.sleep(0.2)


def test_an_interruption_is_told_as_its_error() -> None:
    with pytest.raises(RunCancelled) as told, explain_interruptions():
        raise Cancellation(what="The task was stopped in Airflow.", where="make")
    assert str(told.value) == "The task was stopped in Airflow.\n  where:    make"


def test_another_thread_is_interrupted() -> None:
    ended: list[str] = []

    def work() -> None:
        try:
            with explain_interruptions():
                while True:
                    time.sleep(0.001)
        except RunCancelled as stop:
            ended.append(str(stop))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert thread.ident
    interrupt(thread.ident, Cancellation)
    thread.join(30)
    assert ended == ["The run was cancelled."]


class _BreaksOff(logging.Handler):
    """Is interrupted while it writes, and takes every ``Exception`` for its own, as all do."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            raise TimeIsOver
        except Exception:
            self.handleError(record)


def test_a_log_does_not_swallow_it() -> None:
    noisy = logging.Logger("noisy")
    noisy.addHandler(_BreaksOff())
    with pytest.raises(StepTimedOut), explain_interruptions():
        noisy.warning("half a line")


def test_a_connection_pool_does_not_swallow_it() -> None:
    """SQLAlchemy logs an ``Exception`` of a connection's reset, and goes on."""
    engine = create_engine("sqlite://")

    @event.listens_for(engine, "reset")
    def break_off(connection: sqlite3.Connection, *rest: object) -> None:
        raise TimeIsOver

    with pytest.raises(StepTimedOut), explain_interruptions(), engine.connect():
        pass


def test_a_component_does_not_swallow_it() -> None:
    began = time.monotonic()
    with pytest.raises(StepTimedOut), time_limit(0.05):
        while time.monotonic() < began + 30:
            with contextlib.suppress(Exception):
                time.sleep(0.001)
