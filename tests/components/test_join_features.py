"""Examples get the features that were known at their moments, by the views that servers read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.join_features import join_features
from feature_store.definitions import FeatureService, FeatureView, RequestSource
from feature_store.definitions import on_demand_feature_view as on_demand
from feature_store.fields import Entity, FeatureType, Field, Sensitivity
from feature_store.sources import EventSource, ParquetSource
from learnloop.artifacts import Examples, Records
from learnloop.component import CodeReference
from learnloop.errors import UsageError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = "tests.components.test_join_features"

learner = Entity("learner", (Field("learner", FeatureType.INT64),))
activity = FeatureView(
    "activity",
    (learner,),
    (Field("clicks", FeatureType.INT64, Sensitivity.BEHAVIOURAL),),
    ParquetSource("activity_files", "nowhere", "happened", "recorded"),
    purposes=("support",),
)
history = FeatureView(
    "history",
    (learner,),
    (Field("skills", FeatureType.STRING_LIST),),
    EventSource("history_events", "nowhere", "attempt", "happened", "recorded"),
)


@on_demand(
    sources=(activity, RequestSource("request", (Field("days", FeatureType.INT64),))),
    schema=(Field("clicks_a_day", FeatureType.FLOAT64),),
)
def pace(columns: Any) -> dict[str, Any]:
    """Clicks a day."""
    return {"clicks_a_day": pa.compute.divide(columns["clicks"].cast("float64"), columns["days"])}


outcome = FeatureService("outcome", (activity, history, pace), purpose="support")


def join(folder: Path, service: str = "outcome", leave_out: str = "") -> Examples:
    hour = timedelta(hours=1)
    entities, examples = (Examples.create(folder / name) for name in ("entities", "examples"))
    moments = pa.array([NOON, NOON, NOON + hour, NOON], pa.timestamp("us", "UTC"))
    rows = {
        "learner": [2, 1, 1, 3],
        "event_timestamp": moments,
        "days": [2, 2, 2, 2],
        "fails": [0, 1, 1, 0],
    }
    entities.write("train", pa.table(rows))
    entities.write("test", pa.table(rows).slice(3))
    entities.describe(day=60)
    features = Records.create(folder / "features")
    tables = {
        "activity": {
            "learner": [1, 1, 2],
            "happened": [NOON - hour, NOON, NOON - hour],
            "recorded": [NOON, NOON + hour, NOON],
            "clicks": [5, 6, 8],
        },
        "history": {
            "learner": [1, 2],
            "happened": [NOON, NOON],
            "recorded": [NOON, NOON],
            "skills": [["a", "b"], []],
        },
    }
    for name, columns in tables.items():
        if name != leave_out:
            table = pa.Table.from_pydict(columns)
            times = [column for column in ("happened", "recorded") if column in columns]
            schema = pa.schema(
                [
                    pa.field(f.name, pa.timestamp("us", "UTC") if f.name in times else f.type)
                    for f in table.schema
                ]
            )
            features.write(name, table.cast(schema))
    reference = CodeReference(f"{HERE}:{service}")
    join_features.function(entities, features, examples, service=reference)
    return examples


def test_each_example_has_what_was_known_at_its_moment(tmp_path: Path) -> None:
    examples = join(tmp_path)
    known_late = {"clicks": 6, "skills": ["a", "b"], "clicks_a_day": 3.0}
    assert examples.table("train").to_pylist() == [
        {"learner": 2, "days": 2, "fails": 0, "clicks": 8, "skills": [], "clicks_a_day": 4.0},
        {"learner": 1, "days": 2, "fails": 1, "clicks": 5, "skills": ["a", "b"]}
        | {"clicks_a_day": 2.5},
        {"learner": 1, "days": 2, "fails": 1, **known_late},
        {"learner": 3, "days": 2, "fails": 0, "clicks": None, "skills": None}
        | {"clicks_a_day": None},
    ]
    assert examples.counts == {"train": 4, "test": 1}
    assert examples.metadata["day"] == 60


def test_a_view_without_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        join(tmp_path, leave_out="history")
    assert str(caught.value) == (
        "There are no rows of feature view 'history'.\n  where:    input 'features'\n"
        "  expected: one of activity\n  received: 'history'"
    )


def test_what_is_no_service_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        join(tmp_path, service="activity")
    assert str(caught.value) == (
        "This is no feature service.\n  where:    parameter 'service'\n"
        f"  expected: module:name of a FeatureService\n  received: {HERE}:activity"
    )


careless = FeatureService("careless", (activity,))


def test_sensitive_features_are_not_read_without_a_purpose(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        join(tmp_path, service="careless")
    assert str(caught.value) == (
        "Features of 'activity' say something about a person and are not to be read without a "
        "purpose.\n  where:    clicks (behavioural)\n  expected: one of the purposes support\n"
        "  received: none\n"
        "  next:     declare the purpose of the service, or have the view's owner permit it"
    )
