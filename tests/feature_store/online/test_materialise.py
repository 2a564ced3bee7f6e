"""Materializing: what is read online is what the offline join says at that moment."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store import materialise
from feature_store.fields import FeatureType, Field
from feature_store.offline.reading import SourceChanged
from feature_store.online.redis import RedisStore
from feature_store.online.store import NotMaterialized
from feature_store.pseudonyms import KEYS_VARIABLE
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.settings import Settings
from tests.feature_store.online.school import NOW, ago, open_school, write_activity
from tests.feature_store.online.school_views import ACTIVITY_FIELDS, activity

T = FeatureType
FEATURES = ["activity"]
NAMES = [field.name for field in ACTIVITY_FIELDS]


def random_rows(choose: random.Random, count: int) -> list[dict[str, Any]]:
    """Rows out of order, recorded late, tied, too old, and with nulls."""
    rows = []
    for number in range(count):
        happened = ago(hours=choose.randrange(60 * 24))
        rows.append(
            {
                "learner": choose.randrange(40),
                "happened_at": happened,
                "recorded_at": min(NOW, happened + timedelta(hours=choose.choice([0, 0, 1, 30]))),
                "clicks": choose.choice([None, number]),
                "score": choose.choice([None, float("nan"), -0.0, number / 7]),
                "last_seen": choose.choice([None, happened]),
                "favourite": choose.choice([None, "sums", ""]),
            }
        )
    return rows


def online(store: FeatureStore, learners: list[int]) -> pa.Table:
    rows = [{"learner": learner} for learner in learners]
    return store.get_online_features(FEATURES, rows).to_arrow()


def offline(store: FeatureStore, learners: list[int], moment: datetime) -> pa.Table:
    rows = pa.table(
        {
            "learner": learners,
            "event_timestamp": pa.array([moment] * len(learners), pa.timestamp("us", "UTC")),
        }
    )
    return store.get_historical_features(rows, FEATURES).to_arrow()


def bits(table: pa.Table) -> list[list[Any]]:
    """The values of the features, floats by their bits."""
    columns = [table.column(name).combine_chunks() for name in NAMES]
    return [
        column.view(pa.uint32()).to_pylist() if pa.types.is_floating(column.type)
        else column.to_pylist()
        for column in columns
    ]  # fmt: skip


def clicks(store: FeatureStore, *learners: int) -> list[Any]:
    return online(store, list(learners)).column("clicks").to_pylist()


def test_online_is_what_the_offline_join_says(school: FeatureStore) -> None:
    """Some hundred rows in any disorder, in several spans; learner 40 has none."""
    choose = random.Random(7)
    rows = random_rows(choose, 400)
    for number in range(4):
        write_activity(f"{number}", rows[number::4])
    everybody = list(range(41))
    for hours in (900, 300, 20, 1, 0):
        school.materialize_incremental(ago(hours=hours), FEATURES)
        if hours == 0:
            school.materialize_incremental(ago(hours=hours), FEATURES)
    # The join is asked about this moment, as the age of a value is counted to this moment online.
    assert bits(online(school, everybody)) == bits(offline(school, everybody, datetime.now(UTC)))
    assert online(school, everybody).column("clicks").null_count < 35


def test_what_is_written(local_school: FeatureStore) -> None:
    write_activity("a", [{"learner": n, "happened_at": ago(days=2), "clicks": n} for n in range(5)])
    (done,) = local_school.materialize_incremental(ago(days=1), FEATURES)
    assert (done.view, done.rows, done.start) == ("activity", 5, None)
    assert (done.watermark, done.store) == (ago(days=1), local_school.online_stores[0].name)
    (done,) = local_school.materialize_incremental(NOW, FEATURES)
    assert (done.rows, done.start) == (0, ago(days=1) - materialise.LATE)
    (done,) = local_school.materialize(None, NOW, FEATURES)
    assert (done.rows, done.start, done.watermark) == (5, None, NOW)
    assert clicks(local_school, 3, 5) == [3, None]


def test_only_views_that_are_online_unless_named(settings: Settings) -> None:
    store = open_school(settings, activity, replace(activity, name="kept", online=False))
    write_activity("a", [{"learner": 1, "happened_at": ago(days=2), "clicks": 1}])
    assert [done.view for done in store.materialize(None, NOW)] == ["activity"]
    with pytest.raises(UsageError, match="'kept' is not for the online store."):
        store.materialize(None, NOW, ["kept"])


def test_a_file_that_comes_late_is_read(local_school: FeatureStore) -> None:
    """It was recorded before the watermark and reached its folder after."""
    write_activity("a", [{"learner": 1, "happened_at": ago(days=3), "clicks": 1}])
    local_school.materialize_incremental(ago(days=1), FEATURES)
    late = ago(days=1) - materialise.LATE / 2
    write_activity("b", [{"learner": 2, "happened_at": late, "clicks": 2}])
    local_school.materialize_incremental(NOW, FEATURES)
    assert clicks(local_school, 1, 2) == [1, 2]


def test_what_was_not_known_yet_is_not_written(local_school: FeatureStore) -> None:
    row = {"learner": 1, "happened_at": ago(days=3), "recorded_at": ago(days=1), "clicks": 5}
    write_activity("a", [{"learner": 1, "happened_at": ago(days=4), "clicks": 4}, row])
    local_school.materialize_incremental(ago(days=2), FEATURES)
    assert clicks(local_school, 1) == [4]
    local_school.materialize_incremental(NOW, FEATURES)
    assert clicks(local_school, 1) == [5]


def test_a_span_after_a_gap_leaves_the_gap_to_be_filled(local_school: FeatureStore) -> None:
    write_activity("a", [{"learner": n, "happened_at": ago(days=n), "clicks": n} for n in range(9)])
    local_school.materialize(ago(days=9), ago(days=7), FEATURES)
    assert clicks(local_school, 8, 7, 4, 1) == [8, 7, None, None]
    (done,) = local_school.materialize(ago(days=2), NOW, FEATURES)
    assert done.watermark == ago(days=7)
    assert clicks(local_school, 8, 7, 4, 1) == [8, 7, None, 1]
    local_school.materialize_incremental(NOW, FEATURES)
    assert clicks(local_school, 8, 7, 4, 1) == [8, 7, 4, 1]
    (done,) = local_school.materialize(ago(days=9), ago(days=7), FEATURES)
    assert done.watermark == NOW


def test_a_store_that_lost_its_data_is_filled_again(
    school: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_activity("a", [{"learner": 1, "happened_at": ago(days=2), "clicks": 1}])
    school.materialize_incremental(ago(days=1), FEATURES)
    (store,) = school.online_stores
    if isinstance(store, RedisStore):
        store._client.flushdb()
    else:
        store.drop("activity")
    with pytest.raises(NotMaterialized):
        clicks(school, 1)
    school.materialize_incremental(NOW, FEATURES)
    assert clicks(school, 1) == [1]


def test_a_source_that_is_compacted_meanwhile_is_read_again(
    school: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_activity("a", [{"learner": 1, "happened_at": ago(days=2), "clicks": 1}])
    faults = iter([SourceChanged("A source changed while it was read."), None])
    read = materialise.latest_rows

    def disturbed(*args: Any) -> Any:
        fault = next(faults)
        if fault:
            raise fault
        return read(*args)

    monkeypatch.setattr(materialise, "latest_rows", disturbed)
    school.materialize_incremental(NOW, FEATURES)
    assert clicks(school, 1) == [1]


class TestEvolution:
    """A view changes; rows that were written before are read as it is now."""

    def changed(self, settings: Settings) -> FeatureStore:
        clicks_gone = (
            Field("rating", T.FLOAT64, formerly=("score",)),
            Field("favourite", T.STRING),
            Field("minutes", T.INT64),
        )
        return open_school(settings, replace(activity, schema=clicks_gone))

    def test_added_renamed_widened_and_removed(self, school: FeatureStore) -> None:
        row = {"learner": 1, "happened_at": ago(days=2), "clicks": 1, "favourite": "sums"}
        write_activity("a", [{**row, "score": 1.5}])
        school.materialize_incremental(ago(days=1), FEATURES)
        changed = self.changed(school.settings)
        reader = changed.online_reader(changed.ask(FEATURES))
        expected = {"rating": 1.5, "favourite": "sums", "minutes": None}
        assert reader.one({"learner": 1}).values == expected
        answer = reader.many([{"learner": 1}]).to_arrow()
        assert answer.to_pylist() == [{"learner": 1, **expected}]
        assert answer.schema.field("rating").type == pa.float64()

    def test_rows_of_both_schemas_in_one_answer(self, school: FeatureStore) -> None:
        rows = [{"learner": n, "happened_at": ago(days=9 - n), "score": n / 2} for n in range(6)]
        write_activity("a", rows)
        school.materialize(None, ago(days=6.5), FEATURES)
        changed = self.changed(school.settings)
        (file,) = (changed.settings.home_folder.parent / "data" / "activity").glob("*.parquet")
        table = parquet.read_table(file)
        parquet.write_table(table.append_column("minutes", pa.array(range(6))), file)
        changed.materialize(ago(days=6.5), NOW, FEATURES)
        answer = online(changed, [0, 4, 2, 99, 5]).to_pydict()
        assert answer["rating"] == [0.0, 2.0, 1.0, None, 2.5]
        assert answer["minutes"] == [None, 4, None, None, 5]

    def test_everything_is_written_anew_after_a_change(self, local_school: FeatureStore) -> None:
        write_activity("a", [{"learner": 1, "happened_at": ago(days=5), "clicks": 1}])
        local_school.materialize_incremental(ago(days=1), FEATURES)
        wider = (*ACTIVITY_FIELDS, Field("visits", T.INT64, formerly=("clicks",)))
        changed = open_school(local_school.settings, replace(activity, schema=wider[1:]))
        (done,) = changed.materialize_incremental(NOW, FEATURES)
        assert (done.start, done.rows) == (None, 1)
        (done,) = changed.materialize_incremental(NOW, FEATURES)
        assert (done.start, done.rows) == (NOW - materialise.LATE, 0)
        assert online(changed, [1]).column("visits").to_pylist() == [1]


def test_another_pseudonym_key(school: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows under the old key are gone once the view is materialized under the new one."""
    write_activity("a", [{"learner": 1, "happened_at": ago(days=2), "clicks": 1}])
    monkeypatch.setenv(KEYS_VARIABLE, f"2025:{'o' * 32}")
    old = open_school(school.settings)
    old.materialize_incremental(NOW, FEATURES)
    assert clicks(old, 1) == [1]
    monkeypatch.setenv(KEYS_VARIABLE, f"2026:{'n' * 32},2025:{'o' * 32}")
    rotated = open_school(school.settings)
    with pytest.raises(NotMaterialized):
        clicks(rotated, 1)
    assert clicks(old, 1) == [1]
    rotated.materialize_incremental(NOW, FEATURES)
    assert clicks(rotated, 1) == [1]
    assert rotated.online_stores[0].views() == ["activity.2026"]
    with pytest.raises(NotMaterialized):
        clicks(old, 1)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (
            None,
            datetime(2024, 5, 1),
            "A moment needs a time zone.\n"
            "  where:    materialize\n"
            "  expected: a datetime with a zone, as datetime.now(UTC)\n"
            "  received: datetime.datetime(2024, 5, 1, 0, 0)",
        ),
        (
            None,
            datetime(2999, 5, 1, tzinfo=UTC),
            "What has not been recorded yet cannot be materialized.\n"
            "  where:    materialize, end\n"
            "  expected: a moment that has passed\n"
            "  received: 2999-05-01T00:00:00+00:00",
        ),
        (
            datetime(2024, 5, 2, tzinfo=UTC),
            datetime(2024, 5, 1, tzinfo=UTC),
            "The span ends before it begins.\n"
            "  where:    materialize\n"
            "  expected: an end from 2024-05-02T00:00:00+00:00 on\n"
            "  received: 2024-05-01T00:00:00+00:00",
        ),
    ],
)
def test_spans_that_cannot_be(
    local_school: FeatureStore, start: datetime | None, end: datetime, message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        local_school.materialize(start, end, FEATURES)
    assert str(raised.value) == message
