"""Pushed rows: online at once, kept once, whatever is killed and repeated."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store.offline.reading import SourceChanged, SourceReader, list_files
from feature_store.online.store import NotMaterialized, OnlineStoreUnavailable
from feature_store.push import compact_pushed, pushed_parts
from feature_store.pushed import PLACE
from feature_store.sources import ParquetSource, PushSource
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.settings import Settings, load_settings, project_root
from tests.feature_store.online.school import NOW, ago, attempt, open_school
from tests.feature_store.online.school_views import attempts
from tests.feature_store.online.test_stores import forked
from tests.servers import redis_server

SOURCE = "attempt_stream"


@pytest.fixture
def pushing(school: FeatureStore) -> FeatureStore:
    """A project whose view of attempts has been materialized, from nothing yet."""
    school.materialize_incremental(ago(days=30), ["attempts"])
    return school


def counts(store: FeatureStore, *pairs: tuple[int, str]) -> list[int | None]:
    """The counts that are online."""
    rows = [{"learner": learner, "skill": skill} for learner, skill in pairs]
    found = store.get_online_features(["attempts:count"], rows).to_arrow()
    return found.column("count").to_pylist()


def kept(columns: tuple[str, ...] = ("learner", "skill", "count")) -> list[tuple[Any, ...]]:
    """All rows that are kept, in their order, as the offline joins read them."""
    fields = [f for f in (*attempts.join_keys, *attempts.schema) if f.name in columns]
    with SourceReader(attempts) as reader:
        return [
            row
            for _, found, _ in reader.read(fields)
            for row in zip(*(column.to_pylist() for column in found), strict=True)
        ]


def test_pushed_rows_are_online_and_kept(pushing: FeatureStore) -> None:
    rows = [attempt(1, 7, "sums", 3, ago(hours=2)), attempt(2, 7, "angles", 5, ago(hours=1))]
    pushed = pushing.push(SOURCE, rows)
    assert (pushed.rows, pushed.new, pushed.views) == (2, 2, ("attempts",))
    assert counts(pushing, (7, "sums"), (7, "angles"), (8, "sums")) == [3, 5, None]
    assert kept() == [(7, "sums", 3), (7, "angles", 5)]
    asked = pa.table(
        {
            "learner": [7, 7],
            "skill": ["sums", "sums"],
            "event_timestamp": pa.array([ago(hours=3), NOW], pa.timestamp("us", "UTC")),
        }
    )
    history = pushing.get_historical_features(asked, ["attempts"]).to_arrow()
    assert history.column("count").to_pylist() == [None, 3]


@pytest.mark.parametrize("has_identity", [True, False])
def test_rows_are_kept_once(pushing: FeatureStore, has_identity: bool) -> None:
    """Pushed again, alone, in another batch, or twice in one."""
    rows = [attempt(n, n % 3, "sums", n, ago(hours=50 - n)) for n in range(10)]
    if not has_identity:
        for row in rows:
            del row["event_id"]
    assert pushing.push(SOURCE, rows[:6]).new == 6
    assert pushing.push(SOURCE, rows[:6]).new == 0
    assert pushing.push(SOURCE, [*rows[4:], rows[9]]).new == 4
    assert kept() == [(n % 3, "sums", n) for n in range(10)]
    assert counts(pushing, (0, "sums"), (1, "sums"), (2, "sums")) == [9, 7, 8]


def test_the_time_of_recording_is_filled_in_and_tells_no_rows_apart(settings: Settings) -> None:
    """A row that is pushed again was recorded later the second time, and is the same row."""
    batch = ParquetSource("attempts_kept", "data/attempts", "happened_at", "recorded_at")
    view = replace(attempts, source=PushSource(SOURCE, batch))
    store = open_school(settings, view)
    store.materialize_incremental(ago(days=1))
    row = attempt(1, 7, "sums", 3, ago(hours=2))
    del row["event_id"]
    began = datetime.now(UTC)
    assert [store.push(SOURCE, [row]).new for _ in range(2)] == [1, 0]
    ((_, part),) = list_files(view.stored_source)
    (recorded,) = parquet.read_table(part).column("recorded_at").to_pylist()
    assert began <= recorded <= datetime.now(UTC)
    store.online_stores[0].close()


def test_a_row_that_comes_late_does_not_replace_a_newer_one(pushing: FeatureStore) -> None:
    rows = [attempt(n, 1, "sums", n, ago(minutes=n)) for n in range(20)]
    random.Random(3).shuffle(rows)
    for row in rows:
        pushing.push(SOURCE, [row])
    assert counts(pushing, (1, "sums")) == [0]
    pushing.materialize_incremental(datetime.now(UTC), ["attempts"])
    assert counts(pushing, (1, "sums")) == [0]


def test_materializing_reads_what_was_pushed(pushing: FeatureStore) -> None:
    """So a store that lost its data has pushed rows again, too."""
    pushing.push(SOURCE, [attempt(1, 7, "sums", 3, ago(hours=2))])
    pushing.online_stores[0].drop("attempts")
    with pytest.raises(NotMaterialized):
        pushing.push(SOURCE, [attempt(2, 8, "sums", 4, ago(hours=1))])
    pushing.materialize_incremental(NOW, ["attempts"])
    assert counts(pushing, (7, "sums"), (8, "sums")) == [3, 4]


def test_no_rows(pushing: FeatureStore) -> None:
    row = attempt(1, 7, "sums", 3, NOW)
    empty = pa.Table.from_pylist([row]).slice(0, 0)
    assert pushing.push(SOURCE, empty).new == 0
    assert kept() == []


class TestFaults:
    """Rows are refused as a whole, before any is kept."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"clicks": 4},
                "There is no column 'clicks' in this source.\n"
                "  where:    push source 'attempt_stream'\n"
                "  expected: one of correct, count, happened_at, learner, skill\n"
                "  received: 'clicks'",
            ),
            (
                {"learner": "7"},
                "Column 'learner' is not of its type.\n"
                "  where:    push source 'attempt_stream'\n"
                "  expected: int64\n"
                "  received: string",
            ),
            (
                {"learner": None},
                "A row has no 'learner'.\n"
                "  where:    push source 'attempt_stream'\n"
                "  expected: a value in every row\n"
                "  received: 1 rows without",
            ),
            (
                {"happened_at": datetime(2999, 1, 2, tzinfo=UTC)},
                "A row comes from the future: it would keep out the rows that follow.\n"
                "  where:    push source 'attempt_stream', happened_at\n"
                "  expected: a time up to NOW\n"
                "  received: 2999-01-02T00:00:00+00:00",
            ),
        ],
    )
    def test_rows_that_do_not_fit(
        self, local_school: FeatureStore, change: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UsageError) as raised:
            local_school.push(SOURCE, [{**attempt(1, 7, "sums", 3, NOW), **change}])
        expected = raised.value.expected
        if "up to" in expected:
            limit = datetime.fromisoformat(expected.removeprefix("a time up to "))
            assert timedelta() < limit - datetime.now(UTC) <= timedelta(minutes=5)
            message = message.replace("NOW", limit.isoformat())
        assert str(raised.value) == message
        assert not (project_root() / "data" / "attempts" / PLACE).exists()

    def test_a_column_is_missing(self, local_school: FeatureStore) -> None:
        row = attempt(1, 7, "sums", 3, NOW)
        del row["skill"]
        with pytest.raises(UsageError) as raised:
            local_school.push(SOURCE, [row])
        assert str(raised.value) == (
            "The rows have no column 'skill'.\n"
            "  where:    push source 'attempt_stream'\n"
            "  expected: 'skill' of string\n"
            "  received: event_id, learner, count, correct, happened_at"
        )

    def test_an_unknown_source(self, local_school: FeatureStore) -> None:
        with pytest.raises(UsageError) as raised:
            local_school.push("attempt_steam", [])
        assert str(raised.value) == (
            "There is no push source 'attempt_steam'.\n"
            "  where:    push\n"
            "  expected: did you mean 'attempt_stream'?\n"
            "  received: 'attempt_steam'"
        )

    def test_redis_gone_and_back(
        self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows are kept; the error is the caller's, who pushes again; nothing is kept twice."""
        rows = [attempt(1, 7, "sums", 3, ago(hours=2))]
        with redis_server(tmp_path, "--appendonly", "yes") as server:
            monkeypatch.setenv("LEARNLOOP_FEATURES_ONLINE", server.url())
            store = open_school(load_settings())
            store.materialize_incremental(ago(days=1), ["attempts"])
            server.kill()
            with pytest.raises(OnlineStoreUnavailable):
                store.push(SOURCE, rows)
            assert kept() == [(7, "sums", 3)]
            server.start()
            assert counts(store, (7, "sums")) == [None]
            assert store.push(SOURCE, rows).new == 0
            assert counts(store, (7, "sums")) == [3]
            assert kept() == [(7, "sums", 3)]


class TestParts:
    """The manifest decides what is kept."""

    def test_compaction_keeps_rows_and_their_order(self, local_school: FeatureStore) -> None:
        source = attempts.source
        parts = pushed_parts(source)  # type: ignore[arg-type]
        for n in range(30):
            parts.append(pa.table({"n": [n, n]}), [b"%d" % n, b"%d again" % n])
        parts.append(pa.table({"n": [30], "more": ["x"]}), [b"30"])
        parts.append(pa.table({"n": [31], "more": ["y"]}), [b"31"])
        assert parts.compact() == 32
        files = list_files(attempts.stored_source)
        assert len(files) == len(list(parts.folder.glob("*.parquet"))) == 2
        numbers = [n for _, f in files for n in parquet.read_table(f)["n"].to_pylist()]
        assert numbers == [n for n in range(30) for _ in range(2)] + [30, 31]
        assert parts.append(pa.table({"n": [0]}), [b"0"]) == 0
        assert parts.compact() == 0

    def test_a_file_that_the_manifest_does_not_name_is_not_there(
        self, local_school: FeatureStore
    ) -> None:
        parts = pushed_parts(attempts.source)  # type: ignore[arg-type]
        parts.append(pa.table({"n": [1]}), [b"1"])
        (left_over := parts.folder / "left.parquet").write_bytes(b"half a file")
        assert len(list_files(attempts.stored_source)) == 1
        parts.compact()
        assert not left_over.exists()
        assert len(list_files(attempts.stored_source)) == 1

    def test_readers_never_see_a_row_twice_or_not(self, local_school: FeatureStore) -> None:
        """While rows are pushed and parts are put together."""
        local_school.materialize_incremental(ago(days=30), ["attempts"])
        faults: list[str] = []
        ended = threading.Event()
        looked = 0

        def look() -> None:
            nonlocal looked
            at_least = 0
            while not ended.is_set():
                try:
                    found = [count for (count,) in kept(("count",))]
                except SourceChanged:
                    continue
                if found != list(range(len(found))) or len(found) < at_least:
                    faults.append(f"{found}")
                at_least = len(found)
                looked += 1

        def put_together() -> None:
            while not ended.is_set():
                compact_pushed(local_school)

        threads = [threading.Thread(target=work) for work in (look, look, put_together)]
        for thread in threads:
            thread.start()
        for n in range(0, 120, 2):
            rows = [attempt(m, m, "sums", m, ago(minutes=1)) for m in (n, n + 1)]
            local_school.push(SOURCE, rows)
        ended.set()
        for thread in threads:
            thread.join()
        assert faults == []
        assert looked > 5
        assert [count for (count,) in kept(("count",))] == list(range(120))

    def test_killed_at_any_moment(self, local_school: FeatureStore) -> None:
        """Whoever pushes begins again where they knew to be; every row is kept once, in order."""
        local_school.materialize_incremental(ago(days=30), ["attempts"])
        told = project_root() / "told"
        told.write_text("0")
        choose = random.Random(5)
        for _ in range(10):
            with (
                forked(partial(push_for_ever, local_school, told)) as pusher,
                forked(partial(compact_for_ever, local_school)) as compactor,
            ):
                time.sleep(choose.random() * 0.3)
                os.kill(compactor, signal.SIGKILL)
                time.sleep(choose.random() * 0.2)
                os.kill(pusher, signal.SIGKILL)
            found = [count for (count,) in kept(("count",))]
            assert found == list(range(len(found)))
            assert len(found) >= int(told.read_text() or 0)
        assert found
        begun = int(told.read_text())
        local_school.push(
            SOURCE, [attempt(n, n % 9, "sums", n, _when(n)) for n in range(begun, begun + 50)]
        )
        compact_pushed(local_school)
        assert [count for (count,) in kept(("count",))] == list(range(begun + 50))
        online = counts(local_school, *((learner, "sums") for learner in range(9)))
        assert sorted(filter(None, online)) == list(range(begun + 41, begun + 50))


def push_for_ever(store: FeatureStore, told: Path) -> None:
    """Push numbered events from the one that was told last, as a consumer of a stream does."""
    begin = int(told.read_text())
    while True:
        rows = [attempt(n, n % 9, "sums", n, _when(n)) for n in range(begin, begin + 7)]
        store.push(SOURCE, rows)
        begin += 7
        unfinished = told.with_suffix(".part")
        unfinished.write_text(str(begin))
        unfinished.replace(told)


def compact_for_ever(store: FeatureStore) -> None:
    """Put parts together without a pause."""
    while True:
        compact_pushed(store)


def _when(number: int) -> datetime:
    return ago(days=2) + timedelta(seconds=number)
