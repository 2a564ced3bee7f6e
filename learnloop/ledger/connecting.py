"""Reaching the ledger's database: patience while it restarts, and errors a person can act on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from learnloop.errors import LearnLoopError

PATIENCE_SECONDS, RETRY_SECONDS = 15.0, 0.25
VALUES_AT_ONCE = 500
"""Databases bound how many values one statement may hold."""

Value = TypeVar("Value")


def connect_patiently(engine: sa.Engine) -> sa.Connection:
    """Connect; a server that restarts is waited for, so that what was made is recorded.

    Args:
        engine: The database. SQLite does its own waiting.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return engine.connect()
        except OperationalError:
            if engine.dialect.name == "sqlite" or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)


@contextmanager
def explain_faults(
    location: str,
    database: str = "The ledger's database",
    again: str = "run the same command again",
) -> Iterator[None]:
    """Turn a database's error into one that a person can act on.

    Args:
        location: The database's URL, without its password.
        database: What people call it.
        again: What to do once it runs.

    Raises:
        LearnLoopError: The database did not do as asked.
    """
    try:
        yield
    except DBAPIError as fault:
        raise LearnLoopError(
            f"{database} did not do as asked.",
            where=location,
            received=str(fault.orig).strip().partition("\n")[0],
            next=f"check that the database runs and has space, then {again}",
        ) from fault


def chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Take values in parts that one statement may hold.

    Args:
        values: Any number of them.

    Example:
        >>> [len(some) for some in chunks(range(1_200))]
        [500, 500, 200]
    """
    for begin in range(0, len(values), VALUES_AT_ONCE):
        yield values[begin : begin + VALUES_AT_ONCE]
