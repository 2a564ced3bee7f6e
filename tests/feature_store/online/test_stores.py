"""What every online store promises, on each of them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.fields import FeatureType
from feature_store.online import redis as redis_module
from feature_store.online.packing import RowSchema
from feature_store.online.redis import RedisStore
from feature_store.online.sqlite import MAX_KEYS
from feature_store.online.store import (
    Materialization,
    MaterializationConflict,
    NotMaterialized,
    OnlineStore,
    ViewState,
)
from learnloop.errors import LearnLoopError
from tests.feature_store.online.conftest import another
from tests.feature_store.online.packed import (
    SCHEMA,
    VIEW,
    key,
    learner_part,
    materialize,
    newest,
    numbered,
    packed,
    read,
    skill_part,
    values,
)


@contextlib.contextmanager
def forked(work: Callable[[], object]) -> Iterator[int]:
    """Run some work in a process of its own until the block ends; it exits with 0 if it is true."""
    process = os.fork()
    if process == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    try:
        yield process
    finally:
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


class TestReading:
    def test_rows_come_in_the_order_of_the_keys(self, store: OnlineStore) -> None:
        materialize(store, [(key(n), packed(n * 10)) for n in range(20)])
        asked = [3, 99, 3, 0, 19, 98, 1]
        assert read(store, asked) == [30, None, 30, 0, 190, None, 10]
        assert read(store, [5]) == [50]
        assert read(store, [99]) == [None]
        assert read(store, []) == []

    def test_more_keys_than_one_statement_takes(self, store: OnlineStore) -> None:
        count = 2 * MAX_KEYS + 17
        materialize(store, numbered(range(count), 7))
        assert read(store, range(count + 1)) == [7] * count + [None]

    def test_several_views_at_once(self, store: OnlineStore) -> None:
        materialize(store, [(key(1), packed(1))], view="activity")
        materialize(store, [(key(1), packed(2)), (key(2), packed(3))], view="activity_daily")
        found = store.read([("activity_daily", [key(2), key(1)]), ("activity", [key(1), key(2)])])
        assert [values(rows) for rows in found] == [[3, 2], [1, None]]

    def test_any_bytes_are_a_key(self, store: OnlineStore) -> None:
        keys = [b":" * 16, b"*?[]\\\r\n\0" * 2, bytes(range(240, 256)), b"rows:" + b"x" * 11]
        materialize(store, [(name, packed(at)) for at, name in enumerate(keys)])
        (rows,) = store.read([(VIEW, keys)])
        assert values(rows) == [0, 1, 2, 3]

    def test_a_view_that_was_never_materialized(self, store: OnlineStore) -> None:
        materialize(store, numbered([1], 1), view="other")
        expected = (
            "The online store holds nothing of feature view 'activity': it was never "
            "materialized, or the store lost its data.\n"
            f"  where:    {store.name}\n"
            "  next:     learnloop features materialize --view activity"
        )
        for keys in ([key(1)], [key(1), key(2)], []):
            with pytest.raises(NotMaterialized) as raised:
                store.read([(VIEW, keys)])
            assert str(raised.value) == expected
        with pytest.raises(NotMaterialized) as raised:
            store.read([("other", [key(1)]), (VIEW, [key(1)])])
        assert str(raised.value) == expected
        with pytest.raises(NotMaterialized) as raised:
            store.push(VIEW, SCHEMA, numbered([1], 1))
        assert str(raised.value) == expected
        assert store.state(VIEW) is None

    def test_schemas_are_kept(self, store: OnlineStore) -> None:
        earlier = RowSchema((("visits", FeatureType.INT32),))
        materialize(store, schema=earlier)
        materialize(store)
        pushed = RowSchema((("value", FeatureType.INT64), ("score", FeatureType.FLOAT32)))
        store.push(VIEW, pushed, [])
        fresh = another(store)
        for schema in (earlier, SCHEMA, pushed):
            assert fresh.schema(schema.fingerprint) == schema
        with pytest.raises(LearnLoopError) as raised:
            fresh.schema(b"\1\2\3\4\5\6\7\10")
        assert str(raised.value) == (
            "The online store has a row of a schema that it does not know.\n"
            f"  where:    {store.name}\n"
            "  received: schema 0102030405060708\n"
            "  next:     learnloop features materialize"
        )


class TestWriting:
    @settings(
        max_examples=25,
    )
    @given(
        st.lists(
            st.tuples(
                st.booleans(),
                st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), max_size=5),
            ),
            max_size=6,
        )
    )
    def test_the_newest_stays_in_any_order(
        self, store: OnlineStore, writes: list[tuple[bool, list[tuple[int, int]]]]
    ) -> None:
        view = f"activity{time.monotonic_ns()}"
        materialize(store, view=view)
        written = []
        for is_push, rows in writes:
            given = [(learner, at, len(written) + n) for n, (learner, at) in enumerate(rows)]
            # One write has a learner once: among rows of one key and time none comes last.
            once = {learner: (key(learner), packed(value, at)) for learner, at, value in given}
            written += [row for row in given if once[row[0]][1] == packed(row[2], row[1])]
            if is_push:
                store.push(view, SCHEMA, list(once.values()))
            else:
                materialize(store, list(once.values()), view=view)
        expected = newest(written)
        assert read(store, range(4), view) == [expected.get(learner) for learner in range(4)]

    def test_of_two_at_one_time_the_later_recorded_stays(self, store: OnlineStore) -> None:
        materialize(store, [(key(1), packed(1, happened=5, created=9))])
        store.push(VIEW, SCHEMA, [(key(1), packed(2, happened=5, created=8))])
        assert read(store, [1]) == [1]
        store.push(VIEW, SCHEMA, [(key(1), packed(3, happened=5, created=10))])
        assert read(store, [1]) == [3]
        materialize(store, [(key(1), packed(4, happened=4, created=99))])
        assert read(store, [1]) == [3]

    def test_of_two_at_the_same_times_the_later_written_stays(self, store: OnlineStore) -> None:
        """A view that has changed is materialized again from the same source."""
        materialize(store, numbered([1], 1))
        materialize(store, numbered([1], 2))
        assert read(store, [1]) == [2]
        store.push(VIEW, SCHEMA, numbered([1], 1))
        assert read(store, [1]) == [1]

    def test_several_batches(self, store: OnlineStore) -> None:
        batches = (numbered(range(at, at + 3000), at) for at in range(0, 9000, 3000))
        after = ViewState(SCHEMA.fingerprint.hex(), 5)
        given = store.materialize(Materialization(VIEW, SCHEMA, None, after), batches)
        assert given == 9000
        assert read(store, [0, 2999, 3000, 8999, 9000]) == [0, 0, 3000, 6000, None]
        assert store.state(VIEW) == after

    def test_what_others_changed_meanwhile_is_told(self, store: OnlineStore) -> None:
        first = materialize(store, numbered([1], 1), watermark=10)
        late = Materialization(VIEW, SCHEMA, first, ViewState(first.schema, 30))

        def batches() -> Iterator[list[tuple[bytes, bytes]]]:
            yield numbered([1, 2], 2)
            materialize(another(store), numbered([3], 3), watermark=20)
            yield numbered([4], 4)

        with pytest.raises(MaterializationConflict) as raised:
            store.materialize(late, batches())
        assert str(raised.value) == (
            "Feature view 'activity' was materialized or erased from by somebody else meanwhile; "
            "nothing was written.\n"
            f"  where:    {store.name}\n"
            "  next:     learnloop features materialize-incremental --view activity"
        )
        assert read(store, [1, 2, 3, 4]) == [1, None, 3, None]
        state = store.state(VIEW)
        assert state is not None
        assert state.watermark == 20

    def test_a_first_materialization_that_somebody_else_made(self, store: OnlineStore) -> None:
        materialize(store, numbered([1], 1))
        late = Materialization(VIEW, SCHEMA, None, ViewState(SCHEMA.fingerprint.hex(), 30))
        with pytest.raises(MaterializationConflict):
            store.materialize(late, [numbered([1], 2)])
        assert read(store, [1]) == [1]

    def test_a_source_that_fails_leaves_nothing(self, store: OnlineStore) -> None:
        before = materialize(store, numbered([1], 1))

        def batches() -> Iterator[list[tuple[bytes, bytes]]]:
            yield numbered([1, 2], 2)
            raise LearnLoopError("The source ended.")

        with pytest.raises(LearnLoopError, match="The source ended."):
            store.materialize(
                Materialization(VIEW, SCHEMA, before, ViewState(SCHEMA.fingerprint.hex(), 9)),
                batches(),
            )
        assert read(store, [1, 2]) == [1, None]
        assert store.state(VIEW) == before

    def test_a_push_during_a_materialization_stays(self, store: OnlineStore) -> None:
        before = materialize(store, numbered([1, 2], 1))

        def batches() -> Iterator[list[tuple[bytes, bytes]]]:
            yield numbered([1, 2], 2, happened=10)
            another(store).push(VIEW, SCHEMA, numbered([1], 3, happened=20))
            another(store).push(VIEW, SCHEMA, numbered([2], 3, happened=5))
            assert read(store, [1, 2]) == [3, 3]

        store.materialize(
            Materialization(VIEW, SCHEMA, before, ViewState(SCHEMA.fingerprint.hex(), 9)),
            batches(),
        )
        assert read(store, [1, 2]) == [3, 2]

    def test_two_at_once_make_one(self, store: OnlineStore) -> None:
        """Several processes begin from one state: one of them changes it, the others are told."""
        before = materialize(store, numbered([1], 0))
        barrier = threading.Barrier(4)
        outcomes: list[str] = []

        def work(number: int) -> None:
            own = another(store)
            after = ViewState(SCHEMA.fingerprint.hex(), number)
            barrier.wait()
            try:
                own.materialize(
                    Materialization(VIEW, SCHEMA, before, after),
                    [numbered(range(500), number, happened=1)],
                )
                outcomes.append("done")
            except MaterializationConflict:
                outcomes.append("refused")
            finally:
                own.close()

        threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["done", "refused", "refused", "refused"]
        state = store.state(VIEW)
        assert state is not None
        assert set(read(store, range(500))) == {state.watermark}


class TestAtomicity:
    """A reader sees all of a materialization or nothing of it."""

    LEARNERS = range(300)

    def test_readers_see_the_old_or_the_new(self, store: OnlineStore) -> None:
        materialize(store, numbered(self.LEARNERS, 0))
        seen: list[set[int | None]] = []
        ended = threading.Event()

        def look() -> None:
            own = another(store)
            while not ended.is_set():
                seen.append(set(read(own, self.LEARNERS)))
            own.close()

        readers = [threading.Thread(target=look) for _ in range(2)]
        for reader in readers:
            reader.start()
        for version in range(1, 13):
            materialize(store, numbered(self.LEARNERS, version, happened=version))
        ended.set()
        for reader in readers:
            reader.join()
        assert [versions for versions in seen if len(versions) != 1] == []
        assert len(seen) > 5

    def test_killed_at_any_moment(
        self, store: OnlineStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After ``kill -9`` there is one version, and materializing goes on as if nothing was."""
        monkeypatch.setattr(redis_module, "ABANDONED_SECONDS", -1)
        materialize(store, numbered(range(1500), 0))
        version = 0
        for _ in range(12):
            with forked(partial(materialize_for_ever, store, version)) as process:
                time.sleep(random.random() * 0.15)
                os.kill(process, signal.SIGKILL)
            found = set(read(store, range(1500)))
            assert len(found) == 1
            version = found.pop() or 0
            state = store.state(VIEW)
            assert state is not None
            assert state.watermark == version
        assert version > 0
        version += 1
        materialize(store, numbered(range(1500), version, happened=version), watermark=version)
        assert set(read(store, range(1500))) == {version}
        if isinstance(store, RedisStore):
            keys = [name for name in store._client.scan_iter() if b":rows" not in name]
            names = {name.rsplit(b":", 1)[0] for name in keys}
            assert names == {b"learnloop", b"learnloop:features"}


def materialize_for_ever(store: OnlineStore, version: int) -> None:
    """Write one version after another."""
    while True:
        version += 1
        materialize(store, numbered(range(1500), version, happened=version), watermark=version)


class TestErasure:
    def test_rows_of_one_value_of_a_part(self, store: OnlineStore) -> None:
        rows = [(key(n, skill), packed(n)) for n in range(3) for skill in range(4)]
        materialize(store, rows, watermark=8)
        before = store.state(VIEW)
        assert store.erase(VIEW, [learner_part(1), learner_part(77)]) == 4
        left = [(n, skill) for n in (0, 2) for skill in range(4)]
        (found,) = store.read([(VIEW, [name for name, _ in rows])])
        assert [row is not None for row in found] == [n != 1 for n in range(3) for _ in range(4)]
        assert store.erase(VIEW, [skill_part(3)]) == 2
        (found,) = store.read([(VIEW, [key(*pair) for pair in left])])
        assert values(found) == [None if skill == 3 else n for n, skill in left]
        after = store.state(VIEW)
        assert before is not None
        assert after is not None
        assert (after.watermark, after.schema) == (before.watermark, before.schema)

    def test_nobody_to_erase(self, store: OnlineStore) -> None:
        assert store.erase(VIEW, [learner_part(1)]) == 0
        materialize(store, numbered([1], 1))
        assert store.erase(VIEW, [learner_part(7)]) == 0
        assert read(store, [1]) == [1]

    def test_a_materialization_under_way_brings_nobody_back(self, store: OnlineStore) -> None:
        """It read the source before the person was erased from there."""
        before = materialize(store, numbered([1, 2], 1))

        def batches() -> Iterator[list[tuple[bytes, bytes]]]:
            yield numbered([1, 2], 2, happened=1)
            assert another(store).erase(VIEW, [learner_part(1)]) == 1

        with pytest.raises(MaterializationConflict):
            store.materialize(
                Materialization(VIEW, SCHEMA, before, ViewState(SCHEMA.fingerprint.hex(), 9)),
                batches(),
            )
        assert read(store, [1, 2]) == [None, 1]

    def test_dropping_a_view(self, store: OnlineStore) -> None:
        materialize(store, numbered([1], 1), view="activity")
        materialize(store, numbered([1], 2), view="activity.key2")
        assert store.views() == ["activity", "activity.key2"]
        assert read(store, [1], "activity") == [1]
        store.drop("activity")
        store.drop("activity")
        assert store.views() == ["activity.key2"]
        with pytest.raises(NotMaterialized):
            read(store, [1], "activity")
        assert read(store, [1], "activity.key2") == [2]
        materialize(store, numbered([2], 3), view="activity")
        assert read(store, [1, 2], "activity") == [None, 3]


class TestProcesses:
    def test_threads_share_a_store(self, store: OnlineStore) -> None:
        materialize(store, [(key(n), packed(n)) for n in range(50)])
        wrong: list[object] = []

        def look(seed: int) -> None:
            choose = random.Random(seed)
            for _ in range(60):
                learners = choose.sample(range(50), choose.randint(1, 9))
                if read(store, learners) != learners:
                    wrong.append(learners)

        threads = [threading.Thread(target=look, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_a_forked_process_has_connections_of_its_own(self, store: OnlineStore) -> None:
        """Two processes on one connection would read each other's answers."""
        materialize(store, [(key(n), packed(n)) for n in range(50)])
        assert read(store, [1]) == [1]

        inherited = store._local.connection  # type: ignore[attr-defined]

        def look() -> bool:
            return all(read(store, [n % 50]) == [n % 50] for n in range(300))

        def look_by_itself() -> bool:
            return look() and store._local.connection is not inherited  # type: ignore[attr-defined]

        with forked(look_by_itself) as process:
            assert look()
            _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 0
