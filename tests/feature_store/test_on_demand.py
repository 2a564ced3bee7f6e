"""On-demand features are computed from what is read; sensitive ones need a permitted purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store.asking import PurposeRefused
from feature_store.definitions import FeatureService, FeatureView, on_demand_feature_view
from feature_store.fields import Entity, FeatureType, Field, Sensitivity
from feature_store.gathering import gather
from feature_store.offline.reading import SourceReader
from feature_store.sources import ParquetSource
from feature_store.store import FeatureStore
from learnloop.settings import Settings
from tests.feature_store import computed

MOMENT = pa.timestamp("us", "UTC")
LEARNER = Entity("learner", (Field("learner", FeatureType.INT64, Sensitivity.IDENTIFIER),))


def clicks_view(folder: Path) -> FeatureView:
    source = pa.table(
        {"learner": [1, 2], "clicks": [5, None], "happened": pa.array([1, 1], MOMENT)}
    )
    parquet.write_table(source, folder / "clicks.parquet")
    return FeatureView(
        "activity",
        entities=(LEARNER,),
        schema=(Field("clicks", FeatureType.INT64, Sensitivity.BEHAVIOURAL),),
        source=ParquetSource("clicks", str(folder / "clicks.parquet"), "happened"),
        purposes=("learner_support",),
    )


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (computed.as_array, [5, None]),
        (computed.as_chunks, [5, None]),
        (computed.as_narrower_array, [5, None]),
        (computed.as_numpy, [5, 7]),
    ],
)
def test_a_function_may_give_any_column_that_fits(
    function: Any, expected: list[int | None], tmp_path: Path
) -> None:
    view = clicks_view(tmp_path)
    define = on_demand_feature_view(sources=(view,), schema=(Field("made", FeatureType.INT64),))
    service = FeatureService("support", (define(function),), purpose="learner_support")
    store = FeatureStore(Settings(home=tmp_path), gather([service]))
    store.apply()
    asked = pa.table({"learner": [1, 2], "event_timestamp": pa.array([1, 1], MOMENT)})
    answer = store.get_historical_features(asked, "support").to_arrow()
    assert answer["made"].to_pylist() == expected


@pytest.mark.parametrize(
    ("purpose", "what", "received"),
    [("", "without a purpose.", "none"), ("advertising", "for 'advertising'.", "advertising")],
)
def test_a_sensitive_feature_is_refused_before_any_read(
    purpose: str, what: str, received: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = clicks_view(tmp_path)
    store = FeatureStore(Settings(home=tmp_path), gather([view]))
    store.apply()
    opened: list[FeatureView] = []
    monkeypatch.setattr(SourceReader, "__init__", lambda self, view: opened.append(view))
    asked = pa.table({"learner": [1], "event_timestamp": pa.array([1], MOMENT)})
    with pytest.raises(PurposeRefused) as fault:
        store.get_historical_features(asked, [view], purpose=purpose).to_arrow()
    assert str(fault.value) == (
        f"Features of 'activity' say something about a person and are not to be read {what}\n"
        "  where:    clicks (behavioural)\n"
        "  expected: one of the purposes learner_support\n"
        f"  received: {received}\n"
        "  next:     declare the purpose of the service, or have the view's owner permit it"
    )
    assert opened == []
