"""Servers of the model in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving.server.memory import ThreadedServer, serving


@pytest.fixture(scope="session")
def memory_server() -> Iterator[ThreadedServer]:
    """One server that tests share; none of them may change it for the others."""
    with serving() as server:
        yield server
