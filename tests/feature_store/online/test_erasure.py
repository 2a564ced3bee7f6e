"""Erasing a person: no byte is left, whoever is killed, and nobody else loses a row."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store.definitions import FeatureView
from feature_store.erased import list_as_erased
from feature_store.erasure import Erased, erase_features
from feature_store.fields import Entity, FeatureType, Field
from feature_store.gathering import gather
from feature_store.materialise import materialize_incremental
from feature_store.offline.reading import SourceChanged
from feature_store.online.store import MaterializationConflict
from feature_store.pseudonyms import load_keyring
from feature_store.push import pushed_parts
from feature_store.sources import EventSource, ParquetSource, PushSource
from feature_store.store import FeatureStore
from learnloop.erasing import ErasableRows
from learnloop.ledger import open_ledger
from learnloop.settings import Settings, load_settings, project_root
from tests.feature_store.online.school import NOW, ago
from tests.feature_store.online.test_stores import forked
from tests.servers import RedisServer

T = FeatureType
MOMENT = pa.timestamp("us", "UTC")
THEM, OTHER = "learner-4711-of-the-north", "learner-4712-of-the-south"

learner = Entity("learner", (Field("learner", T.STRING, formerly=("student",)),))
activity = FeatureView(
    "activity",
    (learner,),
    (Field("clicks", T.INT64),),
    ParquetSource("activity_files", "data/activity", "at"),
)
logins = FeatureView(
    "logins",
    (learner,),
    (Field("minutes", T.INT64),),
    EventSource("told", "events", "login", "at", ""),
)
answers = FeatureView(
    "answers",
    (Entity("pair", (Field("skill", T.STRING), *learner.join_keys)),),
    (Field("note", T.STRING),),
    PushSource("answer_stream", ParquetSource("answers_kept", "data/answers", "at")),
)
DEFINITIONS = gather([activity, logins, answers])


@pytest.fixture(params=["sqlite", "redis"])
def school(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeatureStore]:
    """Two learners in files of several kinds, in events, in pushed rows and online."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        monkeypatch.setenv("LEARNLOOP_FEATURES_ONLINE", server.new_database())
    store = filled(load_settings())
    yield store
    for online in store.online_stores:
        online.close()


@pytest.fixture
def local(settings: Settings) -> Iterator[FeatureStore]:
    store = filled(settings)
    yield store
    store.online_stores[0].close()


def filled(settings: Settings) -> FeatureStore:
    for name in ("a", "b"):
        write(f"data/activity/{name}.parquet", learner=[THEM, OTHER, None], clicks=[1, 2, 3])
    write("data/activity/deep/c.parquet", learner=[OTHER], clicks=[4])
    write("data/activity/old.parquet", student=[OTHER, THEM], clicks=[5, 6])
    coded = pa.array([THEM, OTHER]).dictionary_encode()
    lists = pa.array([[THEM], [OTHER]], pa.list_(coded.type))
    write("events/login/hour=1/p.parquet", learner=coded, minutes=[7, 8], friends=lists)
    store = FeatureStore(settings, DEFINITIONS)
    store.apply()
    store.materialize_incremental(NOW)
    rows = [(OTHER, "sums"), (THEM, "sums"), (THEM, "angles")]
    for number, (who, skill) in enumerate(rows):
        happened = ago(minutes=number)
        store.push(
            "answer_stream",
            [{"learner": who, "skill": skill, "note": f"by {who}", "at": happened}],
        )
    return store


def write(name: str, **columns: Any) -> None:
    path = project_root() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(columns.values())))
    table = pa.table({**columns, "at": pa.array([ago(hours=1)] * rows, MOMENT)})
    parquet.write_table(table, path, compression="none", row_group_size=2)


def files_with(text: str) -> list[str]:
    """The files of the project that have some bytes, wherever they are in them."""
    found = (path for path in project_root().rglob("*") if path.is_file())
    return sorted(path.name for path in found if text.encode() in path.read_bytes())


def erase(store: FeatureStore, who: str = THEM) -> list[Erased]:
    return list(erase_features(store, {"learner"}, who))


def clicks(store: FeatureStore, who: str) -> Any:
    asked = pa.table({"learner": [who], "event_timestamp": pa.array([NOW], MOMENT)})
    offline = store.get_historical_features(asked, ["activity"]).to_arrow()["clicks"].to_pylist()
    online = store.get_online_features(["activity"], [{"learner": who}]).to_dict()["clicks"]
    return offline + online


def test_no_byte_is_left_and_nobody_else_loses_a_row(school: FeatureStore) -> None:
    assert clicks(school, THEM) == [6, 6]
    before = clicks(school, OTHER)
    assert len(files_with(THEM)) >= 6
    others = [name for name in files_with(OTHER) if name.endswith(".parquet")]
    erased = erase(school)
    online = school.online_stores[0].name
    assert {one.place: one.rows for one in erased} == {
        "source activity_files": 3,
        "source told": 1,
        "source answer_stream": 2,
        f"feature view activity, {online}": 1,
        f"feature view answers, {online}": 2,
        f"feature view logins, {online}": 1,
    }
    assert files_with(THEM) == []
    assert [name for name in files_with(OTHER) if name.endswith(".parquet")] == others
    assert clicks(school, THEM) == [None, None]
    assert clicks(school, OTHER) == before
    school.materialize(None, NOW)
    assert clicks(school, THEM) == [None, None]
    assert sum(one.rows for one in erase(school)) == 0


def test_what_stays_of_a_file_is_what_it_was(local: FeatureStore) -> None:
    file = project_root() / "data" / "activity" / "a.parquet"
    file.chmod(0o640)
    before = parquet.read_table(file)
    untouched = project_root() / "data" / "activity" / "deep" / "c.parquet"
    identity = untouched.stat()
    erase(local)
    after = parquet.read_table(file)
    assert after.equals(before.take([1, 2]), check_metadata=True)
    assert file.stat().st_mode & 0o777 == 0o640
    assert parquet.read_metadata(file).row_group(0).column(0).compression == "UNCOMPRESSED"
    assert (untouched.stat().st_ino, untouched.stat().st_mtime) == (
        identity.st_ino,
        identity.st_mtime,
    )


def test_killed_before_any_file_takes_its_place(
    local: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each kill nothing is lost of others, and erasing again finishes."""
    replace = Path.replace
    for allowed in range(3):
        done: list[Path] = []

        def die_later(
            self: Path, target: Path, done: list[Path] = done, allowed: int = allowed
        ) -> Path:
            if len(done) == allowed:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(target)
            return replace(self, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", die_later)
            with forked(lambda: erase(local)) as process:
                _, status = os.waitpid(process, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert clicks(local, OTHER)[0] == 5
    erase(local)
    assert files_with(THEM) == []
    assert not list(project_root().rglob("*.erasing"))


def test_a_materialization_under_way_is_refused(
    local: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read the person's rows before they were erased."""
    store = local.online_stores[0]
    real = type(store).materialize

    def erase_first(self: Any, change: Any, batches: Any) -> int:
        read = list(batches)
        monkeypatch.setattr(type(store), "materialize", real)
        erase(local)
        return real(self, change, read)

    monkeypatch.setattr(type(store), "materialize", erase_first)
    with pytest.raises(MaterializationConflict):
        materialize_incremental(local, [activity], NOW)
    assert clicks(local, THEM) == [None, None]


def test_a_file_that_is_replaced_meanwhile(
    local: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ErasableRows._write_others

    def write_others(*given: Any) -> None:
        real(*given)
        write("data/activity/a.parquet", learner=[THEM], clicks=[9])

    monkeypatch.setattr(ErasableRows, "_write_others", write_others)
    with pytest.raises(SourceChanged) as changed:
        erase(local)
    assert changed.value.what == "A source changed while it was erased from."


def test_who_was_erased_does_not_come_back(
    local: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a row that is pushed, nor by a file that the platform writes again."""
    monkeypatch.setenv("LEARNLOOP_PSEUDONYM_KEYS", "2026:" + "k" * 32)
    list_as_erased(open_ledger(local.settings.ledger_url), load_keyring(), THEM, "ada")
    store = FeatureStore(local.settings, DEFINITIONS)
    erase(store)
    store.materialize(None, NOW)
    rows = [
        {"learner": who, "skill": "sums", "note": "again", "at": ago(minutes=-1)}
        for who in (THEM, OTHER)
    ]
    assert store.push("answer_stream", rows).new == 1
    write("data/activity/z.parquet", learner=[THEM, OTHER], clicks=[8, 9])
    store.materialize(None, NOW)
    answers = [{"learner": who, "skill": "sums"} for who in (THEM, OTHER)]
    assert store.get_online_features(["answers"], answers).to_dict()["note"] == [None, "again"]
    assert store.get_online_features(["activity"], answers).to_dict()["clicks"] == [None, 9]
    assert files_with(THEM) == ["z.parquet"]


def test_what_is_not_reached_is_told(local: FeatureStore) -> None:
    far = FeatureView(
        "far", (learner,), (Field("far", T.INT64),), ParquetSource("far", "s3://bucket/far/", "at")
    )
    gone = FeatureView(
        "gone", (learner,), (Field("gone", T.INT64),), ParquetSource("gone", "data/gone", "at")
    )
    numbered = FeatureView(
        "numbered",
        (Entity("number", (Field("learner", T.INT64),)),),
        (Field("n", T.INT64),),
        ParquetSource("numbered", "s3://bucket/numbers", "at"),
    )
    store = FeatureStore(local.settings, gather([activity, far, gone, numbered]))
    assert {one.place: (one.rows, one.left) for one in erase(store) if one.left} == {
        "source far": (0, "s3://bucket/far/ is on S3: erase there, and earlier versions"),
        "source gone": (0, f"there is nothing at {project_root() / 'data/gone'}"),
    }, "a number that is no number of anybody's is not looked for"


def test_pushed_rows_of_before_the_key_was_renamed(local: FeatureStore) -> None:
    source = answers.source
    assert isinstance(source, PushSource)
    rows = pa.table({"student": [THEM, OTHER], "at": pa.array([NOW] * 2, MOMENT)})
    pushed_parts(source).append(rows, [b"1", b"2"])
    assert {one.place: one.rows for one in erase(local)}["source answer_stream"] == 3
    assert files_with(THEM) == []


def test_rows_of_one_person_of_many_by_number(settings: Settings) -> None:
    """In a file that has narrower numbers than the key, and a row group without them."""
    numbered = FeatureView(
        "numbered",
        (Entity("learner", (Field("learner", T.INT64),)),),
        (Field("clicks", T.INT64),),
        ParquetSource("numbered_files", "numbered.parquet", "at"),
    )
    write("numbered.parquet", learner=pa.array([1, 2, 3, 1, 4], pa.int32()), clicks=list(range(5)))
    store = FeatureStore(settings, gather([numbered]))
    assert [one.rows for one in erase(store, "1")] == [2]
    left = parquet.read_table(project_root() / "numbered.parquet")
    assert left.select(["learner", "clicks"]).to_pydict() == {
        "learner": [2, 3, 4],
        "clicks": [1, 2, 4],
    }
    assert left.schema.field("learner").type == pa.int32()
