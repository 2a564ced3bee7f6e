"""Entity rows in, entity rows with features out: every kind of them, and those that do not fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store.offline import history
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from tests.feature_store.online.school import ago, attempt, open_school, write_activity

MOMENT = pa.timestamp("us", "UTC")


@pytest.fixture
def school(settings: Any) -> FeatureStore:
    """A project in which two learners were active."""
    write_activity(
        "days",
        [
            {"learner": 1, "happened_at": ago(days=3), "clicks": 10, "score": 0.5},
            {"learner": 1, "happened_at": ago(days=1), "clicks": 30},
            {"learner": 2, "happened_at": ago(days=2), "clicks": 20},
        ],
    )
    return open_school(settings)


def entity_rows(**columns: Any) -> pa.Table:
    moments = pa.array([ago(days=2), ago(), ago(days=5)], MOMENT)
    return pa.table({"learner": [1, 1, 2], "event_timestamp": moments, **columns})


def test_a_table_a_frame_and_a_file_are_the_same(school: FeatureStore, tmp_path: Path) -> None:
    rows = entity_rows(label=["a", "b", "c"])
    parquet.write_table(rows, tmp_path / "rows.parquet")
    frame = rows.to_pandas()
    for given in (rows, frame, tmp_path / "rows.parquet", str(tmp_path / "rows.parquet")):
        answer = school.get_historical_features(given, ["activity:clicks", "activity:score"])
        found = answer.to_arrow()
        assert found.column_names == ["learner", "event_timestamp", "label", "clicks", "score"]
        assert found["label"].to_pylist() == ["a", "b", "c"]
        assert found["clicks"].to_pylist() == [10, 30, None]
        assert found["score"].to_pylist() == [0.5, None, None]
        assert answer.schema == found.schema


def test_the_answer_as_a_frame_and_as_a_stream(
    school: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "CHUNK_ROWS", 2)
    answer = school.get_historical_features(entity_rows(), ["activity:clicks"])
    assert [batch.num_rows for batch in answer.to_reader()] == [2, 1]
    frame = answer.to_df()
    assert frame["clicks"].tolist()[:2] == [10.0, 30.0]
    assert frame["clicks"].isna().tolist() == [False, False, True]


def test_views_of_different_grain_and_on_demand_in_one_call(school: FeatureStore) -> None:
    school.materialize_incremental(ago(), ["attempts"])
    school.push("attempt_stream", [attempt(1, 1, "sums", 4, ago(days=4))])
    rows = entity_rows(skill=["sums", "angles", "sums"], days_left=[5, 10, 1])
    answer = school.get_historical_features(
        rows, ["attempts:count", "pace", "activity:clicks"], full_feature_names=True
    ).to_arrow()
    assert answer.select(answer.column_names[4:]).to_pydict() == {
        "attempts__count": [4, None, None],
        "pace__pace": [2.0, 3.0, None],
        "activity__clicks": [10, 30, None],
    }


def test_no_rows_have_columns_all_the_same(school: FeatureStore) -> None:
    answer = school.get_historical_features(entity_rows().slice(0, 0), ["activity"]).to_arrow()
    assert answer.num_rows == 0
    assert answer.column_names[2:] == ["clicks", "score", "last_seen", "favourite"]


def test_a_moment_in_another_zone_is_the_same_moment(school: FeatureStore) -> None:
    rows = entity_rows()
    local = rows.set_column(1, "event_timestamp", rows["event_timestamp"].cast(_zone("CET")))
    answer = school.get_historical_features(local, ["activity:clicks"]).to_arrow()
    assert answer["clicks"].to_pylist() == [10, 30, None]


def test_the_end_of_a_ttl_is_in_it(school: FeatureStore) -> None:
    ends = [ago(days=2) + timedelta(days=30), ago(days=2) + timedelta(days=30, microseconds=1)]
    rows = pa.table({"learner": [2, 2], "event_timestamp": pa.array(ends, MOMENT)})
    answer = school.get_historical_features(rows, ["activity:clicks"]).to_arrow()
    assert answer["clicks"].to_pylist() == [20, None]


REFUSED: list[tuple[pa.Table, str]] = [
    (
        entity_rows().drop(["learner"]),
        "The entity rows have no column 'learner'.\n"
        "  where:    entity rows\n"
        "  expected: one of event_timestamp\n"
        "  received: 'learner'",
    ),
    (
        entity_rows().rename_columns(["learner", "event_time"]),
        "The entity rows have no column 'event_timestamp'.\n"
        "  where:    entity rows\n"
        "  expected: did you mean 'event_time'?\n"
        "  received: 'event_timestamp'",
    ),
    (
        pa.table({"learner": [1], "event_timestamp": ["2026-01-01"]}),
        "Column 'event_timestamp' of the entity rows has another type.\n"
        "  where:    entity rows\n"
        "  expected: timestamp\n"
        "  received: string",
    ),
    (
        pa.table({"learner": ["1"], "event_timestamp": pa.array([datetime.now(UTC)], MOMENT)}),
        "Column 'learner' of the entity rows has another type.\n"
        "  where:    entity rows\n"
        "  expected: int64\n"
        "  received: string",
    ),
    (
        entity_rows(clicks=[1, 2, 3]),
        "The entity rows have a column named as a feature, 'clicks'.\n"
        "  where:    'activity:clicks'\n"
        "  expected: names that differ\n"
        "  received: 'clicks'\n"
        "  next:     ask with full_feature_names=True, or drop the column",
    ),
]


@pytest.mark.parametrize(("rows", "message"), REFUSED)
def test_entity_rows_that_do_not_fit(school: FeatureStore, rows: pa.Table, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        school.get_historical_features(rows, ["activity:clicks"])
    assert str(refused.value) == message


def test_a_file_of_entity_rows_that_is_not_there(school: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        school.get_historical_features(tmp_path / "rows.parquet", ["activity"])
    assert str(refused.value) == (
        "The file of entity rows is not there.\n"
        f"  where:    {tmp_path / 'rows.parquet'}\n"
        "  expected: a Parquet file\n"
        "  received: nothing"
    )


def test_a_key_that_does_not_fit_its_type(school: FeatureStore) -> None:
    rows = pa.table({"learner": [1.5], "event_timestamp": pa.array([ago()], MOMENT)})
    with pytest.raises(UsageError) as refused:
        school.get_historical_features(rows, ["activity"]).to_arrow()
    assert str(refused.value) == (
        "A value of 'learner' does not fit its type.\n"
        "  where:    entity rows\n"
        "  expected: values that fit int64\n"
        "  received: double"
    )


def _zone(name: str) -> pa.DataType:
    return pa.timestamp("us", name)
