"""Events are online moments after their part is there, until the process is told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store.store import FeatureStore
from learnloop.settings import Settings
from messaging.events.schema import part_schema

VIEWS = """
from feature_store.definitions import FeatureService, FeatureView
from feature_store.fields import Entity, FeatureType, Field
from feature_store.sources import EventSource

learner = Entity("learner", (Field("learner", FeatureType.STRING),))
schema = (Field("skill", FeatureType.STRING), Field("correct", FeatureType.BOOL))
answers = EventSource("answers", "events", "attempt")
last_attempt = FeatureView("last_attempt", (learner,), schema, answers)
tutor = FeatureService("tutor", (last_attempt,))
"""
PATIENCE = 60.0


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FeatureStore:
    package = tmp_path / "project" / "followed_views"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "feature_views.py").write_text(VIEWS)
    monkeypatch.setenv("LEARNLOOP_FEATURES", '["followed_views"]')
    found = FeatureStore()
    found.apply()
    return found


def collect(folder: Path, number: int, hours_ago: int, skill: str) -> None:
    """Put a part where the collector would."""
    moment = datetime.now(UTC) - timedelta(hours=hours_ago)
    told = {"at": moment, "recorded_at": moment, "source": "app", "sequence": number}
    row = told | {"learner": "ada", "skill": skill, "item": None, "correct": True}
    part = folder / "events" / "attempt" / f"hour={moment:%Y-%m-%dT%H}" / f"{number}.parquet"
    part.parent.mkdir(parents=True, exist_ok=True)
    unfinished = part.with_name(f".{part.name}")
    parquet.write_table(pa.Table.from_pylist([row], part_schema("attempt")), unfinished)
    unfinished.rename(part)


def test_a_new_part_is_online_at_once(store: FeatureStore, tmp_path: Path) -> None:
    project = tmp_path / "project"
    collect(project, 1, 30, "sums")
    words = ["features", "materialize-incremental", "--every", "0.1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "learnloop", *words],
        cwd=project,
        env={**os.environ, "LEARNLOOP_PROJECT": str(project)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        told = process.stderr.readline()
        assert told == "Materializing last_attempt every 0.1 s\n"
        assert skill_once_it_is(store, "sums") == "sums"
        collect(project, 2, 0, "fractions")
        assert skill_once_it_is(store, "fractions") == "fractions"
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "")


def skill_once_it_is(store: FeatureStore, skill: str) -> str | None:
    """What is online of the learner, as soon as it is what is wanted."""
    deadline = time.monotonic() + PATIENCE
    found = None
    while found != skill and time.monotonic() < deadline:
        time.sleep(0.05)
        if store.online_stores[0].views():
            rows = [{"learner": "ada"}]
            (found,) = store.get_online_features("tutor", rows).to_dict()["skill"]
    return found
