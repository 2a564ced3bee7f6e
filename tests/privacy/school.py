"""A small school: OULAD tables, features, events and predictions of the same learners."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from feature_store.pseudonyms import load_keyring
from feature_store.store import FeatureStore
from learnloop.settings import Settings
from messaging.events.keys import open_learner_keys
from messaging.events.parsing import parse_events
from messaging.events.parts import Progress, claim_partition
from serving.client import pseudonym
from serving.client.subject import SUBJECT_HEADER
from serving.prediction_log import LogSettings, PredictionLog
from simulator import SimulationSettings, simulate
from tests.privacy.learning import NAME

LEARNER, CREDITS = 100001, 54321
"""Somebody who is trained on and judged by, and studies more than anybody else."""

FEATURE_VIEWS = """
from feature_store.definitions import FeatureView
from feature_store.fields import Entity, FeatureType, Field, Sensitivity
from feature_store.sources import EventSource, ParquetSource, PushSource

learner = Entity("learner", (Field("learner", FeatureType.INT64, Sensitivity.IDENTIFIER),))
practice = FeatureView(
    "practice",
    (learner,),
    (Field("attempts", FeatureType.INT64),),
    PushSource("practice_stream", ParquetSource("practice_kept", "features/practice", "at")),
)
"""


def make_platform(folder: Path) -> Path:
    """Simulate the platform's own tables, outside of the project."""
    simulate(SimulationSettings(attempts=4_000, learners=120, seed=3), folder)
    info = folder / "oulad" / "studentInfo.csv"
    lines = info.read_text().splitlines(keepends=True)
    marked = [_with_credits(line) if f'"{LEARNER}"' in line else line for line in lines]
    info.write_text("".join(marked))
    return folder / "oulad"


def _with_credits(line: str) -> str:
    cells = line.split(",")
    cells[9] = f'"{CREDITS}"'
    return ",".join(cells)


def remove_by_hand(source: Path, target: Path, learner: str) -> Path:
    """Copy OULAD tables without a learner, as somebody would who edits the files."""
    import pyarrow.compute as pc
    from pyarrow import parquet

    (target / "studentVle").mkdir(parents=True)
    for file in source.glob("*.csv"):
        lines = file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if f'"{learner}"' not in line.split(",")]
        (target / file.name).write_text("".join(kept))
    for file in source.glob("studentVle/*.parquet"):
        table = parquet.read_table(file)
        kept_rows = table.filter(pc.not_equal(table["id_student"], int(learner)))
        parquet.write_table(kept_rows, target / "studentVle" / file.name)
    return target


def live_there(settings: Settings, learners: list[str]) -> None:
    """Let learners leave features, events, a faulty event, and predictions."""
    push_practice(settings, learners)
    collect_events(settings.events_folder, learners)
    event_keys = open_learner_keys(settings)
    assert event_keys is not None
    event_keys.to_seal(learners)
    keyring = load_keyring()
    with PredictionLog(LogSettings(settings.predictions_folder, keyring.current)) as log:
        for learner in learners:
            log(
                model=NAME,
                version=1,
                label=None,
                signature="serving_default",
                inputs={"credits": np.array([60.0])},
                outputs={"probability": np.array([0.5], np.float32)},
                metadata={SUBJECT_HEADER: pseudonym(learner)},
                seconds=0.001,
            )


def push_practice(settings: Settings, learners: list[str]) -> int:
    """Push a row of each learner to the feature store."""
    store = FeatureStore(settings)
    store.apply()
    at = datetime.now(UTC) - timedelta(minutes=5)
    store.materialize(None, at)
    rows = [{"learner": int(one), "attempts": 3, "at": at} for one in learners]
    new = store.push("practice_stream", rows).new
    for online in store.online_stores:
        online.close()
    return new


def collect_events(folder: Path, learners: list[str]) -> None:
    """Collect an event of each learner, and a message that is none, as the collector does."""
    import pyarrow as pa

    told = [
        {
            "version": 1,
            "source": "platform",
            "sequence": number,
            "kind": "attempt",
            "at": "2026-03-02T09:30:00Z",
            "learner": learner,
            "skill": "sums",
            "correct": True,
        }
        for number, learner in enumerate(learners, 1)
    ]
    table = parse_events([json.dumps(one).encode() for one in told]).events
    table = table.append_column("recorded_at", table["at"])
    attempts = table.select(["at", "recorded_at", "source", "sequence", "learner", "skill"])
    poison = pa.table(
        {
            "offset": pa.array(range(len(told)), pa.int64()),
            "recorded_at": table["at"],
            "reason": ["It is not JSON in UTF-8."] * len(told),
            "value": pa.array([b"{" + json.dumps(one).encode() for one in told], pa.binary()),
        }
    )
    with claim_partition(folder, "t", 0) as claim:
        assert claim is not None
        parts = {"attempt/hour=2026-03-02T09": attempts, "_quarantine": poison}
        claim.write(parts, Progress(len(told), {"platform": len(told)}))
