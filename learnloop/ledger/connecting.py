"""Reaching the ledger's database: patience while it restarts, and errors a person can act on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from learnloop.errors import LearnLoopError

PATIENCE_SECONDS, RETRY_SECONDS = 15.0, 0.25


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
def explain_faults(location: str) -> Iterator[None]:
    """Turn a database's error into one that a person can act on.

    Args:
        location: The database's URL, without its password.

    Raises:
        LearnLoopError: The database did not do as asked.
    """
    try:
        yield
    except DBAPIError as fault:
        raise LearnLoopError(
            "The ledger's database did not do as asked.",
            where=location,
            received=str(fault.orig).strip().partition("\n")[0],
            next="check that the database runs and has space, then run the same command again",
        ) from fault
