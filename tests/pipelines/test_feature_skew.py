"""What a server looks up by learner is, to the bit, what training was given for that moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from components.ingest import ingest
from components.push_features import push_features
from feature_store.store import FeatureStore
from learnloop.artifacts import Records
from learnloop.component import Context
from pipelines.learner_outcome.features import FEATURES, KEYS
from serving.client.learner import complete_rows
from simulator import SimulationSettings, simulate
from tests.pipelines.knowledge_tracing.conftest import make_examples as make_windows
from tests.pipelines.learner_outcome.conftest import make_examples as make_enrolments

SIMULATED = SimulationSettings(attempts=64_000, learners=3_900, seed=11)
HISTORY = ("skills", "responses")
DAYS = (30, 60, 90)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "learners"
    simulate(SIMULATED, folder)
    return folder


def ingested(source: Path, layout: str, folder: Path) -> Records:
    records, quarantine = (Records.create(folder / name) for name in ("records", "quarantine"))
    context = Context.for_test(folder)
    ingest.function(records, quarantine, source=str(source), layout=layout, context=context)
    return records


def push(store: FeatureStore, folder: Path) -> None:
    context = replace(Context.for_test(folder), settings=store.settings)
    push_features.function(Records.open(folder / "features"), context=context)


def bits(rows: pa.Table, features: Sequence[str]) -> pa.Table:
    """The features, floats as the numbers that their bits are."""
    columns = [rows[name].combine_chunks() for name in features]
    return pa.table(
        [c.view(pa.int32()) if pa.types.is_float32(c.type) else c for c in columns], list(features)
    )


def check_online(
    store: FeatureStore, model: str, examples: pa.Table, keys: Sequence[str], names: Sequence[str]
) -> None:
    found = store.get_online_features(model, examples.select(list(keys)))
    assert {str(status) for each in found.statuses.values() for status in each} == {"PRESENT"}
    assert bits(found.to_arrow(), names).equals(bits(examples, names))


def test_ten_thousand_enrolments(simulated: Path, store: FeatureStore, tmp_path: Path) -> None:
    records = ingested(simulated / "oulad", "oulad", tmp_path)
    compared = 0
    for day in DAYS:
        folder = tmp_path / f"day {day}"
        folder.mkdir()
        made = make_enrolments(records, folder, day=day)
        push(store, folder)
        for split in made.names:
            examples = made.table(split)
            check_online(store, "learner_outcome", examples, KEYS, FEATURES)
            compared += examples.num_rows
            kept = store.get_historical_features(
                pa.table(
                    {
                        **{name: examples[name] for name in KEYS},
                        "event_timestamp": moments_of(folder, split),
                    }
                ),
                "learner_outcome",
            )
            assert bits(kept.to_arrow(), FEATURES).equals(bits(examples, FEATURES))
    assert compared >= 10_000
    row = examples.slice(0, 1).to_pylist()[0]
    enrolment = {name: row[name] for name in KEYS if name != "learner"}
    (asked,) = complete_rows(store, "learner_outcome", str(row["learner"]), [enrolment])
    assert asked == {name: row[name] for name in FEATURES}


def moments_of(folder: Path, split: str) -> pa.ChunkedArray:
    return pa.parquet.read_table(folder / "entities" / f"{split}.parquet")["event_timestamp"]


def test_histories(simulated: Path, store: FeatureStore, tmp_path: Path) -> None:
    records = ingested(simulated / "kt", "knowledge_tracing", tmp_path)
    folder = tmp_path / "windows"
    folder.mkdir()
    made = make_windows(records, folder, longest=20, carried=10)
    push(store, folder)
    compared = 0
    for split in made.names:
        examples = last_of_each(made.table(split))
        check_online(store, "knowledge_tracing", examples, ("learner",), HISTORY)
        compared += examples.num_rows
    assert compared > 3_000
    row: dict[str, Any] = examples.slice(0, 1).to_pylist()[0]
    asked = complete_rows(store, "knowledge_tracing", row["learner"], [{"next_skill": "7"}])
    assert asked == [{**{name: row[name] for name in HISTORY}, "next_skill": "7"}]


def last_of_each(windows: pa.Table) -> pa.Table:
    """The last window of each learner: windows follow each other in order of time."""
    learners = windows["learner"].combine_chunks().dictionary_encode().indices.to_numpy()
    is_last = pa.array([*(learners[1:] != learners[:-1]), True])
    return windows.filter(pc.fill_null(is_last, True))
