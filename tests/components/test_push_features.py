"""Rows of views reach training and the online store, however often they are pushed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from components.push_features import push_features
from feature_store.store import FeatureStore
from learnloop.artifacts import Records
from learnloop.component import Context
from learnloop.errors import UsageError
from learnloop.settings import Settings

VIEWS = """
from feature_store.definitions import FeatureService, FeatureView
from feature_store.fields import Entity, FeatureType, Field
from feature_store.sources import ParquetSource, PushSource

learner = Entity("learner", (Field("learner", FeatureType.INT64),))
schema = (Field("clicks", FeatureType.INT64),)
kept = ParquetSource("pushed_files", "rows", "happened")
pushed = FeatureView("pushed", (learner,), schema, PushSource("pushes", kept))
nightly = FeatureView(
    "nightly", (learner,), schema, ParquetSource("nightly_files", "nightly", "happened")
)
outcome = FeatureService("outcome", (pushed,))
"""


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FeatureStore:
    package = tmp_path / "project" / f"views_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "feature_views.py").write_text(VIEWS)
    monkeypatch.setenv("LEARNLOOP_FEATURES", f'["{package.name}"]')
    found = FeatureStore()
    found.apply()
    return found


def push(store: FeatureStore, folder: Path, view: str, clicks: dict[int, int]) -> None:
    (folder / "scratch").mkdir(parents=True)
    features = Records.create(folder / "features")
    moment = pa.array([datetime(2026, 3, max(clicks.values()), tzinfo=UTC)] * len(clicks))
    columns = {"learner": list(clicks), "happened": moment.cast(pa.timestamp("us", "UTC"))}
    features.write(view, pa.table({**columns, "clicks": list(clicks.values())}))
    context = replace(Context.for_test(folder / "scratch"), settings=store.settings)
    push_features.function(features, context=context)


def online(store: FeatureStore) -> list[int | None]:
    rows = [{"learner": number} for number in (1, 2, 3)]
    clicks: list[int | None] = store.get_online_features("outcome", rows).to_dict()["clicks"]
    return clicks


def test_pushed_rows_are_online_and_kept_once(store: FeatureStore, tmp_path: Path) -> None:
    push(store, tmp_path / "1", "pushed", {1: 5, 2: 6})
    assert online(store) == [5, 6, None]
    push(store, tmp_path / "2", "pushed", {1: 5, 2: 6})
    push(store, tmp_path / "3", "pushed", {2: 7, 3: 8})
    assert online(store) == [5, 7, 8]
    moments = [datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)]
    asked = pa.table({"learner": [2, 2], "event_timestamp": pa.array(moments)})
    kept = store.get_historical_features(asked, "outcome").to_arrow()
    assert kept["clicks"].to_pylist() == [6, 7]
    parts = list((tmp_path / "project" / "rows" / "_pushed").glob("*.parquet"))
    assert sum(pa.parquet.read_metadata(part).num_rows for part in parts) == 4


def test_a_view_of_files_is_not_pushed_to(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        push(store, tmp_path / "1", "nightly", {1: 5})
    assert str(caught.value) == (
        "Feature view 'nightly' is not pushed to.\n  where:    source 'nightly_files'\n"
        "  expected: a PushSource\n  received: ParquetSource"
    )
