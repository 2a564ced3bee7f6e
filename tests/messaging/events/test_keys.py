"""A learner has one key, whoever asks, until it is destroyed: then nobody ever has it again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from learnloop.errors import LearnLoopError, UsageError
from learnloop.settings import Settings
from messaging.events import keys as keys_module
from messaging.events.keys import FILE, ErasedLearner, LearnerKeys, open_learner_keys
from messaging.events.master_keys import MasterKey, load_master_keys
from messaging.events.sealing import open_events, seal
from tests.messaging.events.keys import MASTER, OLD_MASTER, holding, open_keys

LEARNER = "learner-4711-of-the-north"
VARIABLE = "LEARNLOOP_EVENT_KEY"


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], LearnerKeys]:
    """Opens one database's keys, as another process would."""
    if request.param == "sqlite":
        return lambda: open_keys(tmp_path)
    url = request.getfixturevalue("new_postgres_database")()
    return lambda: LearnerKeys(url, [MASTER])


def can_open(keys: LearnerKeys, message: bytes) -> bool:
    keys.refresh()
    return open_events([message], keys).values == [b"told"]


def test_what_one_seals_another_opens(opened: Callable[[], LearnerKeys]) -> None:
    one, other = opened(), opened()
    key = one.to_seal([LEARNER])[LEARNER]
    message = seal(key, b"told")
    assert can_open(other, message)
    assert other.to_seal([LEARNER, "2"])[LEARNER].reference == key.reference
    assert can_open(one, seal(other.to_seal([LEARNER])[LEARNER], b"told"))
    assert one.to_open(["0" * 32]) == {}
    assert LEARNER.encode() not in message


def test_a_destroyed_key_is_gone_for_everybody(opened: Callable[[], LearnerKeys]) -> None:
    one, other = opened(), opened()
    message = seal(one.to_seal([LEARNER])[LEARNER], b"told")
    kept = seal(one.to_seal(["2"])["2"], b"told")
    assert can_open(other, message)
    assert one.destroy(LEARNER)
    for keys in (one, other, opened()):
        assert not can_open(keys, message)
        assert can_open(keys, kept)
        assert open_events([message, kept], keys).erased == 1
        with pytest.raises(ErasedLearner) as error:
            keys.to_seal(["2", LEARNER])
        assert str(error.value) == (
            "Events of a learner who was erased are not told.\n"
            "  where:    what was to be sent\n"
            "  expected: events of learners who were not erased\n"
            "  received: 1 who were\n"
            "  next:     remove them from where the events come from"
        )
    assert not one.destroy(LEARNER), "it may be done again"


def test_a_learner_of_whom_nothing_was_told(opened: Callable[[], LearnerKeys]) -> None:
    keys = opened()
    assert not keys.destroy(LEARNER)
    with pytest.raises(ErasedLearner):
        keys.to_seal([LEARNER])


def test_all_who_ask_at_once_get_one_key(opened: Callable[[], LearnerKeys]) -> None:
    together = threading.Barrier(4)
    learners = [str(number) for number in range(30)]
    messages: list[bytes] = []

    def ask() -> None:
        keys = opened()
        together.wait()
        messages.extend(seal(key, b"told") for key in keys.to_seal(learners).values())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert open_events(messages, opened()).values == [b"told"] * 120


def test_no_byte_of_a_destroyed_key_is_left(tmp_path: Path) -> None:
    """Thousands of keys, so that pages were split and have copies of what was moved."""
    keys = open_keys(tmp_path)
    learners = [f"learner-{number}" for number in range(2_000)]
    for first in range(0, len(learners), 100):
        keys.to_seal(learners[first : first + 100])
    with sqlite3.connect(tmp_path / FILE) as connection:
        rows = dict(connection.execute("SELECT reference, wrapped FROM event_keys"))
    connection.close()
    for learner in learners[::500]:
        (reference,) = keys.references(learner)
        traces = (reference.encode(), rows[reference], learner.encode())
        assert holding(tmp_path, *traces) == [tmp_path / FILE]
        keys.destroy(learner)
        assert holding(tmp_path, *traces) == []
    assert len(keys.to_open(rows)) == 2_000


def test_no_byte_of_a_destroyed_key_is_left_in_postgresqls_tables(
    new_postgres_database: Callable[[], str],
) -> None:
    url = new_postgres_database()
    keys = LearnerKeys(url, [MASTER])
    keys.to_seal(["of whom this is the only test", "2"])
    (reference,) = keys.references("of whom this is the only test")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def tables() -> list[Path]:
        with engine.connect() as connection:
            connection.execute(sa.text("CHECKPOINT"))
            folder = Path(connection.execute(sa.text("SHOW data_directory")).scalar_one())
        return holding(folder / "base", reference.encode())

    assert tables() != []
    keys.destroy("of whom this is the only test")
    assert tables() == []


def test_a_new_master_key_goes_before_the_old(tmp_path: Path) -> None:
    before = open_keys(tmp_path, OLD_MASTER)
    message = seal(before.to_seal([LEARNER])[LEARNER], b"told")
    both = open_keys(tmp_path, MASTER, OLD_MASTER)
    assert can_open(both, message)
    assert both.to_seal([LEARNER])[LEARNER].reference == OLD_MASTER.reference(LEARNER)
    assert both.to_seal(["2"])["2"].reference == MASTER.reference("2")
    with pytest.raises(UsageError) as error:
        open_keys(tmp_path, MASTER).to_open([OLD_MASTER.reference(LEARNER)])
    assert str(error.value) == (
        "A learner's key was wrapped under another master key.\n"
        f"  where:    sqlite:///{tmp_path / FILE}, the environment variable {VARIABLE}\n"
        "  expected: the master key of that time, after the one in use\n"
        f'  next:     export {VARIABLE}="NEW,OLD"'
    )
    assert both.destroy(LEARNER)
    assert not can_open(both, message)
    for keys in (before, open_keys(tmp_path, MASTER)):
        keys.refresh()
        with pytest.raises(ErasedLearner):
            keys.to_seal([LEARNER])


def test_memory_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "MOST_CACHED", 10)
    keys = open_keys(tmp_path)
    learners = [str(number) for number in range(30)]
    references = [keys.to_seal([learner])[learner].reference for learner in learners]
    for reference in references:
        assert keys.to_open([reference])[reference] is not None
    assert len(keys._own) <= 10
    assert len(keys._found) <= 10
    assert len(keys.to_open(references)) == 30


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no database, but long enough to be taken for a header" * 20)
    with pytest.raises(LearnLoopError) as error:
        open_keys(tmp_path)
    assert str(error.value) == (
        "The database of the learners' keys did not do as asked.\n"
        f"  where:    sqlite:///{tmp_path / FILE}\n"
        "  received: file is not a database\n"
        "  next:     check that the database runs and has space, then do the same again"
    )


def test_keys_lie_in_the_home_folder_or_in_the_ledgers_postgresql(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    new_postgres_database: Callable[[], str],
) -> None:
    assert open_learner_keys(settings) is None
    monkeypatch.setenv(VARIABLE, "ab" * 32)
    assert open_learner_keys(settings) is not None
    assert (settings.home_folder / FILE).exists()
    monkeypatch.setenv("LEARNLOOP_LEDGER", new_postgres_database())
    there = Settings()
    with monkeypatch.context() as patch:
        patch.delenv(VARIABLE)
        assert open_learner_keys(there) is None
    one, other = open_learner_keys(there), open_learner_keys(there)
    assert one is not None
    assert other is not None
    assert other.to_open([one.to_seal(["1"])["1"].reference]).keys() == {*one.references("1")}


@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_where_learners_have_keys_nothing_goes_on_without_the_master_key(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    ledger: str,
) -> None:
    """Neither are events told plain by a mistake, nor is a key forgotten by an erasure."""
    place = f"sqlite:///{settings.home_folder / FILE}"
    if ledger == "postgresql":
        place = request.getfixturevalue("new_postgres_database")()
        monkeypatch.setenv("LEARNLOOP_LEDGER", place)
        settings = Settings()
    monkeypatch.setenv(VARIABLE, "ab" * 32)
    open_learner_keys(settings)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UsageError) as error:
        open_learner_keys(settings)
    assert str(error.value) == (
        "Events are sealed here, and there is no master key.\n"
        f"  where:    the environment variable {VARIABLE}\n"
        f"  expected: the key that wrapped those in {place}\n"
        "  received: nothing\n"
        f"  next:     set {VARIABLE}, then do the same again"
    )


@pytest.mark.parametrize(
    "text", ["ab" * 32, "AB" * 32, "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="]
)
def test_a_master_key_is_hexadecimal_or_base64(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{text}, {'cd' * 32}")
    assert load_master_keys() == (MasterKey(b"\xab" * 32), MasterKey(b"\xcd" * 32))


@pytest.mark.parametrize("text", ["short", "ab" * 31, "ab" * 33, "q6urq6s=", "z" * 64])
def test_a_master_key_that_does_not_fit(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{'cd' * 32},{text}")
    with pytest.raises(UsageError) as error:
        load_master_keys()
    assert str(error.value) == (
        "The master key of learner events does not fit.\n"
        f"  where:    the environment variable {VARIABLE}, entry 2\n"
        "  expected: 32 bytes as 64 hexadecimal digits or as base64\n"
        "  received: something else\n"
        f'  next:     export {VARIABLE}="$(openssl rand -hex 32)"'
    )


def test_a_key_is_in_no_text() -> None:
    assert "m" * 32 not in repr(MASTER)
