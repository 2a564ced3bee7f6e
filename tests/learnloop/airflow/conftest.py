"""Airflow reads its home when it is first imported: these tests give it one of their own."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from learnloop.airflow.runner import import_airflow
from learnloop.settings import Settings
from tests.learnloop.airflow.receivers import Hook

PROJECT = Path(__file__).parent / "project"
ROOT = Path(__file__).parents[3]

assert "airflow" not in sys.modules, "Airflow was imported before its home was set"
_home = tempfile.TemporaryDirectory(prefix="learnloop-airflow-")
import_airflow(Settings(home=Path(_home.name)))


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project with one pipeline and its DAG file; it is the current one."""
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(PROJECT))
    monkeypatch.syspath_prepend(str(PROJECT))
    return PROJECT


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
