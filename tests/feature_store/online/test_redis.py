"""What is particular to the online store in Redis: gone, hung, empty, full, and its layers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_store.online.redis import RedisStore
from feature_store.online.store import (
    Materialization,
    NotMaterialized,
    OnlineStoreUnavailable,
    ViewState,
)
from learnloop.errors import UsageError
from tests.feature_store.online.packed import (
    SCHEMA,
    VIEW,
    learner_part,
    materialize,
    numbered,
    packed,
    read,
)
from tests.feature_store.online.test_stores import forked
from tests.servers import RedisServer, redis_server

BOUND_SECONDS = 30.0
"""Far more than the limits of a store, far less than for ever."""


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that may be killed."""
    with redis_server(tmp_path) as server:
        yield server


def test_redis_gone_is_told_soon(own_redis: RedisServer) -> None:
    store = RedisStore(own_redis.url())
    materialize(store, numbered([1], 1))
    assert read(store, [1]) == [1]
    own_redis.kill()
    began = time.monotonic()
    for work in (
        lambda: read(store, [1]),
        lambda: read(RedisStore(own_redis.url()), [1]),
        lambda: store.state(VIEW),
        lambda: store.push(VIEW, SCHEMA, numbered([1], 2)),
        lambda: materialize(store, numbered([1], 2)),
    ):
        with pytest.raises(OnlineStoreUnavailable) as raised:
            work()
        assert raised.value.what == "The online store does not answer."
        assert raised.value.where == f"Redis at 127.0.0.1:{own_redis.port}/0"
        assert "refused" in raised.value.received
    assert time.monotonic() - began < BOUND_SECONDS


def test_redis_hung_is_told_soon(own_redis: RedisServer) -> None:
    """And the answer that comes later is never taken for the answer to another question."""
    store = RedisStore(own_redis.url())
    materialize(store, numbered([1], 1) + numbered([2], 2))
    assert read(store, [1]) == [1]
    assert own_redis.process is not None
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(OnlineStoreUnavailable, match="The online store does not answer."):
            read(store, [1])
        assert time.monotonic() - began < BOUND_SECONDS
    finally:
        os.kill(own_redis.process.pid, signal.SIGCONT)
    assert read(store, [2]) == [2]


def test_redis_restarted_empty_is_no_store_without_learners(own_redis: RedisServer) -> None:
    store = RedisStore(own_redis.url())
    materialize(store, numbered([1], 1))
    assert read(store, [1]) == [1]
    own_redis.kill()
    own_redis.start()
    with pytest.raises(NotMaterialized):
        read(store, [1])
    with pytest.raises(NotMaterialized):
        store.push(VIEW, SCHEMA, numbered([1], 2))
    materialize(store, numbered([1], 3))
    assert read(store, [1]) == [3]


def test_redis_restarted_with_its_data(tmp_path: Path) -> None:
    """A connection that ended is made again, without an error."""
    with redis_server(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        store = RedisStore(server.url())
        materialize(store, numbered([1], 1))
        assert read(store, [1]) == [1]
        server.kill()
        server.start()
        assert read(store, [1]) == [1]
        store.push(VIEW, SCHEMA, numbered([1], 2, happened=1))
        assert read(store, [1]) == [2]


def test_a_redis_that_throws_rows_away_is_refused(tmp_path: Path) -> None:
    with redis_server(
        tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"
    ) as server:
        with pytest.raises(UsageError) as raised:
            materialize(RedisStore(server.url()), numbered([1], 1))
        assert str(raised.value) == (
            "This Redis throws rows away when its memory is full.\n"
            f"  where:    Redis at 127.0.0.1:{server.port}/0\n"
            "  expected: maxmemory-policy noeviction, or one of the volatile- kind\n"
            "  received: maxmemory-policy allkeys-lru"
        )


def test_a_redis_that_is_full(tmp_path: Path) -> None:
    """What does not fit is told, and what was there is still there."""
    with redis_server(tmp_path, "--maxmemory", "3mb") as server:
        store = RedisStore(server.url())
        before = materialize(store, numbered([1], 1))
        with pytest.raises(OnlineStoreUnavailable, match="The online store does not answer."):
            materialize(store, numbered(range(50_000), 2, happened=1))
        assert read(store, [1, 2]) == [1, None]
        assert store.state(VIEW) == before


def test_a_password(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        server.ask("CONFIG SET requirepass s3cret%word")
        place = f"127.0.0.1:{server.port}/3"
        store = RedisStore(f"redis://:s3cret%25word@{place}")
        materialize(store, numbered([1], 1))
        assert read(store, [1]) == [1]
        assert store.name == f"Redis at {place}"
        for url in (f"redis://:wrong@{place}", f"redis://{place}"):
            with pytest.raises(OnlineStoreUnavailable) as raised:
                read(RedisStore(url), [1])
            assert raised.value.where == f"Redis at {place}"
            assert "wrong" not in str(raised.value).replace("WRONGPASS", "")


def test_rows_of_any_length_and_number(redis_store: RedisStore) -> None:
    """Answers that come in many pieces, with rows of one length, of others, and none."""
    materialize(redis_store)
    for sizes in ([300_000, 1, 300_000], [106] * 9000, [5, 106, 106, 0, 10, 9, 100, 99] * 50):
        rows = [(learner_part(at), packed(at) + b"$\r\n" * size) for at, size in enumerate(sizes)]
        redis_store.push(VIEW, SCHEMA, rows)
        keys = [key for row in rows for key in (row[0], b"missing")]
        (found,) = redis_store.read([(VIEW, keys)])
        assert found == [value for row in rows for value in (row[1], None)]
        redis_store.drop(VIEW)
        materialize(redis_store)


class TestLayers:
    """Readers between the moment in which a layer comes on top and the end of its moving."""

    @pytest.fixture
    def half_done(self, redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> RedisStore:
        """A store whose layer is on top: somebody was killed before it was moved below."""
        materialize(redis_store, numbered([1, 2, 3], 1, happened=5))
        with monkeypatch.context() as patch:
            patch.setattr(RedisStore, "_settle_all", lambda *_: None)
            materialize(redis_store, numbered([2, 4], 2, happened=9) + numbered([3], 2, happened=1))
        return redis_store

    def test_readers_take_the_newer_of_both(self, half_done: RedisStore) -> None:
        for store in (half_done, RedisStore(half_done.url)):
            assert read(store, [1, 2, 3, 4, 5]) == [1, 2, 1, 2, None]
            assert read(store, [4]) == [2]
            assert read(store, []) == []

    def test_pushes_go_on(self, half_done: RedisStore) -> None:
        half_done.push(VIEW, SCHEMA, numbered([1, 2], 3, happened=7))
        half_done.push(VIEW, SCHEMA, numbered([4], 3, happened=11))
        assert read(half_done, [1, 2, 3, 4]) == [3, 2, 1, 3]
        materialize(half_done)
        assert read(half_done, [1, 2, 3, 4]) == [3, 2, 1, 3]

    def test_the_next_one_moves_the_layer(self, half_done: RedisStore) -> None:
        materialize(half_done, numbered([5], 9))
        assert read(half_done, [1, 2, 3, 4, 5]) == [1, 2, 1, 2, 9]
        names = [name for name in half_done._client.scan_iter() if b":rows:" not in name]
        assert sorted(names) == [
            b"learnloop:features",
            b"learnloop:features:activity",
            b"learnloop:schemas",
        ]

    def test_erasing_from_a_layer(self, half_done: RedisStore) -> None:
        assert half_done.erase(VIEW, [learner_part(2), learner_part(4)]) == 2
        assert read(half_done, [1, 2, 3, 4]) == [1, None, 1, None]

    def test_a_layer_of_somebody_who_was_killed(
        self, redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is never read, and removed once it is sure that nobody goes on writing it."""
        before = materialize(redis_store, numbered([1], 1))
        change = Materialization(VIEW, SCHEMA, before, ViewState(before.schema, 7))

        def batches() -> Iterator[list[tuple[bytes, bytes]]]:
            yield numbered([1, 2], 2, happened=1)
            os.kill(os.getpid(), signal.SIGKILL)

        with forked(lambda: redis_store.materialize(change, batches())) as process:
            _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        (layer,) = redis_store._client.hkeys("learnloop:features:activity:layers")
        name = b"learnloop:features:activity:" + layer
        assert read(redis_store, [1, 2]) == [1, None]
        materialize(redis_store)
        assert redis_store._client.exists(name)
        monkeypatch.setattr("feature_store.online.redis.ABANDONED_SECONDS", -1)
        materialize(redis_store)
        assert not redis_store._client.exists(name, "learnloop:features:activity:layers")
        assert read(redis_store, [1, 2]) == [1, None]

    def test_a_switch_whose_answer_was_lost(self, redis_store: RedisStore) -> None:
        """Asked again, it is the same switch; and what is on top is not removed as refused."""
        before = materialize(redis_store, numbered([1], 1))
        after = ViewState(before.schema, 7)
        switch, asked = redis_store._switch, []

        def twice(keys: list[bytes], words: list[object]) -> object:
            asked.append(switch(keys, words))
            return switch(keys, words)

        redis_store._switch = twice
        change = Materialization(VIEW, SCHEMA, before, after)
        redis_store.materialize(change, [numbered([1], 2, happened=1)])
        assert asked == [1]
        assert redis_store.state(VIEW) == after
        assert read(redis_store, [1]) == [2]


def test_no_byte_of_an_erased_row_is_left_on_disk(tmp_path: Path) -> None:
    """Redis writes its log and its snapshot again."""
    options = ("--appendonly", "yes", "--save", "3600 1", "--rdbcompression", "no")
    with redis_server(tmp_path, *options) as server:
        store = RedisStore(server.url())
        materialize(store, numbered(range(300), 1))
        server.ask("SAVE")
        kept, gone = learner_part(7), learner_part(8)
        assert kept in _files(tmp_path)
        assert gone in _files(tmp_path)
        assert store.erase(VIEW, [gone]) == 1
        assert kept in _files(tmp_path)
        assert gone not in _files(tmp_path)


def _files(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_a_provider_that_keeps_files_of_its_own_hides_how_they_are_written(tmp_path: Path) -> None:
    commands = ("CONFIG", "BGSAVE", "BGREWRITEAOF")
    hidden = [word for command in commands for word in ("--rename-command", command, "")]
    with redis_server(tmp_path, "--appendonly", "yes", *hidden) as server:
        store = RedisStore(server.url())
        materialize(store, numbered([1, 2], 1))
        assert store.erase(VIEW, [learner_part(1)]) == 1
        assert read(store, [1, 2]) == [None, 1]
        store.close()
