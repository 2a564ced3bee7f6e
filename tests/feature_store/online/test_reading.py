"""Reading features online: by the row and by the table, with what became of each view."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feature_store.asking import PurposeRefused
from feature_store.online import reading
from feature_store.online.reading import Status
from feature_store.online.rows import EPOCH
from feature_store.online.store import NotMaterialized, OnlineStoreUnavailable
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.settings import Settings, load_settings
from tests.feature_store.online.school import NOW, ago, attempt, open_school, write_activity
from tests.servers import redis_server

PRESENT, NOT_FOUND, TOO_OLD = Status.PRESENT, Status.NOT_FOUND, Status.OUTSIDE_MAX_AGE


@pytest.fixture
def filled(school: FeatureStore) -> FeatureStore:
    """Learner 1 is active, 2 was long ago, 3 has nulls; 1 and 2 have made attempts."""
    write_activity(
        "a",
        [
            {"learner": 1, "happened_at": ago(days=1), "clicks": 10, "score": 0.5},
            {"learner": 2, "happened_at": ago(days=31), "clicks": 20, "score": 1.5},
            {"learner": 3, "happened_at": ago(days=2), "clicks": None, "favourite": "sums"},
        ],
    )
    school.materialize_incremental(NOW)
    attempts = [attempt(n, n, "sums", 10 + n, ago(hours=n)) for n in (1, 2)]
    school.push("attempt_stream", attempts)
    return school


def test_one_row(filled: FeatureStore) -> None:
    reader = filled.online_reader(filled.ask("tutor"))
    row = reader.one({"learner": 1, "skill": "sums", "unasked": object()})
    assert row.values == {"count": 11, "correct": 5.5, "score": 0.5, "clicks": 10}
    assert list(row.values) == ["count", "correct", "score", "clicks"]
    assert row.statuses == {"attempts": PRESENT, "activity": PRESENT}
    row = reader.one({"learner": 2, "skill": "sums"})
    assert row.values == {"count": 12, "correct": 6.0, "score": None, "clicks": None}
    assert row.statuses == {"attempts": PRESENT, "activity": TOO_OLD}
    row = reader.one({"learner": 3, "skill": "sums"})
    assert row.values == dict.fromkeys(("count", "correct", "score", "clicks"))
    assert row.statuses == {"attempts": NOT_FOUND, "activity": PRESENT}
    row = reader.one({"learner": None, "skill": "sums"})
    assert row.statuses == {"attempts": NOT_FOUND, "activity": NOT_FOUND}
    assert reader.one({"learner": np.int64(1), "skill": "sums"}).values["clicks"] == 10


def test_many_rows(filled: FeatureStore) -> None:
    """Every row, in order, those that are there twice too, with the caller's own columns."""
    rows = pa.table(
        {
            "note": list("abcdef"),
            "learner": [2, 1, 9, 1, None, 3],
            "skill": ["sums", "sums", "sums", "angles", "sums", None],
        }
    )
    found = filled.get_online_features("tutor", rows)
    assert found.to_dict() == {
        "note": list("abcdef"),
        "learner": [2, 1, 9, 1, None, 3],
        "skill": ["sums", "sums", "sums", "angles", "sums", None],
        "count": [12, 11, None, None, None, None],
        "correct": [6.0, 5.5, None, None, None, None],
        "score": [None, 0.5, None, 0.5, None, None],
        "clicks": [None, 10, None, 10, None, None],
    }
    nothing = [NOT_FOUND] * 4
    assert found.statuses["attempts"] == [PRESENT, PRESENT, *nothing]
    expected = [TOO_OLD, PRESENT, NOT_FOUND, PRESENT, NOT_FOUND, PRESENT]
    assert found.statuses["activity"] == expected
    times = found.event_times["activity"].to_pylist()
    assert times == [ago(days=31), ago(days=1), None, ago(days=1), None, ago(days=2)]


def test_a_table_and_rows_one_by_one_are_the_same(filled: FeatureStore) -> None:
    rows = [{"learner": n, "skill": "sums"} for n in range(5)]
    reader = filled.online_reader(filled.ask("tutor"))
    many = reader.many(rows)
    for at, row in enumerate(rows):
        alone = reader.one(row)
        assert {**row, **alone.values} == many.to_arrow().slice(at, 1).to_pylist()[0]
        assert alone.statuses == {view: found[at] for view, found in many.statuses.items()}
    assert reader.many(pa.Table.from_pylist(rows)).to_arrow() == many.to_arrow()


def test_no_rows_have_columns_all_the_same(filled: FeatureStore) -> None:
    table = filled.get_online_features("tutor", []).to_arrow()
    assert len(table) == 0
    types = [str(field.type) for field in table.schema]
    assert types == ["int64", "string", "int64", "double", "float", "int64"]


def test_on_demand_features(filled: FeatureStore) -> None:
    rows = [{"learner": n, "days_left": 4} for n in (1, 2, 9)]
    found = filled.get_online_features(["pace", "activity:score"], rows).to_dict()
    assert found["pace"] == [2.5, None, None]
    assert found["score"] == [0.5, None, None]
    reader = filled.online_reader(filled.ask(["pace"], full_feature_names=True))
    row = reader.one({"learner": 1, "days_left": 5})
    assert (row.values, row.statuses) == ({"pace__pace": 2.0}, {"activity": PRESENT})


def test_an_age_to_the_microsecond(local_school: FeatureStore, monkeypatch: Any) -> None:
    """A value holds for its time to live, the last microsecond of it included."""
    write_activity("a", [{"learner": 1, "happened_at": ago(days=1), "clicks": 1}])
    local_school.materialize_incremental(NOW, ["activity"])
    reader = local_school.online_reader(local_school.ask(["activity"]))
    last = (ago(days=1) + timedelta(days=30) - EPOCH) // timedelta(microseconds=1)
    for moment, status in ((last, PRESENT), (last + 1, TOO_OLD)):
        monkeypatch.setattr(reading.time, "time_ns", lambda moment=moment: moment * 1000 + 999)
        assert reader.one({"learner": 1}).statuses == {"activity": status}
        assert reader.many([{"learner": 1}]).statuses == {"activity": [status]}


def test_a_purpose_is_checked_before_anything_is_read(local_school: FeatureStore) -> None:
    """The store is empty: had it been asked, it would have said so."""
    from dataclasses import replace

    from feature_store.fields import Sensitivity
    from tests.feature_store.online.school_views import activity

    secret = replace(activity.schema[0], sensitivity=Sensitivity.BEHAVIOURAL)
    view = replace(activity, schema=(secret,), purposes=("support",))
    store = open_school(local_school.settings, view)
    with pytest.raises(PurposeRefused):
        store.get_online_features(["activity"], [{"learner": 1}], purpose="advertising")
    with pytest.raises(NotMaterialized):
        store.get_online_features(["activity"], [{"learner": 1}], purpose="support")


class TestFaults:
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (
                [{"learner": 1}, {"lerner": 2}],
                "The entity rows have no value of 'learner'.\n"
                "  where:    entity rows, row 1\n"
                "  expected: 'learner' of int64\n"
                "  received: nothing",
            ),
            (
                [{"learner": "1"}],
                "Column 'learner' of the entity rows is not of its type.\n"
                "  where:    entity rows\n"
                "  expected: int64\n"
                "  received: str",
            ),
            (
                pa.table({"learner": ["1"]}),
                "Column 'learner' of the entity rows is not of its type.\n"
                "  where:    entity rows\n"
                "  expected: int64\n"
                "  received: string",
            ),
            (
                pa.table({"student": [1], "skill": ["sums"]}),
                "The entity rows have no column 'learner'.\n"
                "  where:    entity rows\n"
                "  expected: 'learner' of int64\n"
                "  received: student, skill",
            ),
            (
                pa.table({"learner": [1], "clicks": [4]}),
                "A feature and a column of the entity rows have one name, 'clicks'.\n"
                "  where:    entity rows\n"
                "  expected: names that differ\n"
                "  received: 'clicks'\n"
                "  next:     ask with full_feature_names=True",
            ),
        ],
    )
    def test_entity_rows_that_do_not_fit(
        self, local_school: FeatureStore, rows: Any, message: str
    ) -> None:
        with pytest.raises(UsageError) as raised:
            local_school.get_online_features(["activity"], rows)
        assert str(raised.value) == message

    @pytest.mark.parametrize(
        ("entity", "message"),
        [
            (
                {"learner": True, "skill": "sums"},
                "A value of the join key 'learner' is not of its type.\n"
                "  where:    entity rows\n"
                "  expected: int\n"
                "  received: bool",
            ),
            (
                {"learner": 5, "skill": 7},
                "A value of the join key 'skill' is not of its type.\n"
                "  where:    entity rows\n"
                "  expected: str\n"
                "  received: int",
            ),
            (
                {"skill": "sums"},
                "The join key 'learner' has no value.\n"
                "  where:    entity rows\n"
                "  expected: int\n"
                "  received: nothing",
            ),
        ],
    )
    def test_an_entity_that_does_not_fit(
        self, local_school: FeatureStore, entity: dict[str, Any], message: str
    ) -> None:
        reader = local_school.online_reader(local_school.ask(["attempts"]))
        with pytest.raises(UsageError) as raised:
            reader.one(entity)
        assert str(raised.value) == message

    def test_a_setting_that_names_no_store(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LEARNLOOP_FEATURES_ONLINE", "memcached://me:secret@cache:11211")
        with pytest.raises(UsageError) as raised:
            assert open_school(load_settings()).online_stores
        assert str(raised.value) == (
            "The setting 'features_online' names no online store.\n"
            "  where:    learnloop.toml or LEARNLOOP_FEATURES_ONLINE\n"
            "  expected: redis://host:port/number, rediss://host:port/number, or nothing for "
            "SQLite\n"
            "  received: 'cache:11211'"
        )


class TestFallback:
    """With ``features_fallback``, SQLite is kept in step and read when Redis fails."""

    def test_redis_gone_empty_and_back(
        self,
        settings: Settings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(reading, "REST_SECONDS", 0.0)
        monkeypatch.setenv("LEARNLOOP_FEATURES_FALLBACK", "true")
        write_activity("a", [{"learner": 1, "happened_at": ago(days=1), "clicks": 1}])
        with redis_server(tmp_path) as server:
            monkeypatch.setenv("LEARNLOOP_FEATURES_ONLINE", server.url())
            store = open_school(load_settings())
            done = store.materialize_incremental(NOW)
            redis, local = store.online_stores
            assert [(one.view, one.store) for one in done] == [
                (view, online.name)
                for view in ("activity", "attempts")
                for online in (redis, local)
            ]
            store.push("attempt_stream", [attempt(1, 1, "sums", 4, ago(hours=1))])
            reader = store.online_reader(store.ask("tutor"))
            entity = {"learner": 1, "skill": "sums"}
            expected = {"count": 4, "correct": 2.0, "score": None, "clicks": 1}
            assert reader.one(entity).values == expected
            assert caplog.messages == []
            with caplog.at_level(logging.WARNING):
                server.kill()
                assert reader.one(entity).values == expected
                server.start()
                assert reader.many([entity]).to_arrow().to_pylist() == [{**entity, **expected}]
            assert caplog.messages == [
                f"The online store does not answer. ({redis.name}) "
                "Features come from the fallback.",
                "The online store holds nothing of feature view 'attempts': it was never "
                f"materialized, or the store lost its data. ({redis.name}) "
                "Features come from the fallback.",
            ]
            store.materialize_incremental(datetime.now(UTC))
            caplog.clear()
            assert reader.one(entity).values == expected
            assert caplog.messages == []

    def test_a_store_that_failed_rests(
        self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not every caller waits for a store that hangs."""
        monkeypatch.setenv("LEARNLOOP_FEATURES_FALLBACK", "true")
        with redis_server(tmp_path) as server:
            monkeypatch.setenv("LEARNLOOP_FEATURES_ONLINE", server.url())
            store = open_school(load_settings())
            store.materialize_incremental(NOW, ["attempts"])
            asked: list[str] = []
            redis, _ = store.online_stores

            def fail(wanted: object) -> Any:
                asked.append("redis")
                raise OnlineStoreUnavailable("The online store does not answer.", where=redis.name)

            monkeypatch.setattr(redis, "read", fail)
            reader = store.online_reader(store.ask(["attempts"]))
            for _ in range(20):
                status = reader.one({"learner": 1, "skill": "sums"}).statuses
                assert status == {"attempts": NOT_FOUND}
            assert asked == ["redis"]
