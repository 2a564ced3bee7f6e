"""Whoever is erased is in no file of the log, while servers go on answering and logging."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from feature_store.pseudonyms import Keyring, PseudonymKey
from learnloop.erasing import UNFINISHED
from learnloop.errors import LearnLoopError, UsageError
from learnloop.holding import hold_file
from serving.prediction_log import LogSettings, PredictionLog, read_predictions, turns
from serving.prediction_log.columns import Layout, Note
from serving.prediction_log.erasing import erase_predictions, expire_predictions
from serving.prediction_log.journal import JOURNALS, RECOVERING, Journal, make_parts
from serving.prediction_log.turns import Turn
from tests.dying import die_after
from tests.feature_store.online.test_stores import forked
from tests.messaging.events.keys import holding
from tests.serving.prediction_log.notes import ADA, BOB, KEY, answered
from tests.serving.prediction_log.test_log import wait_until

HOUR = datetime(2026, 3, 2, 9, tzinfo=UTC)
OLD_KEY = PseudonymKey("2025", b"o" * 32)
ADAS = Keyring((KEY, OLD_KEY)).every_pseudonym("learner", "ada")
OLD_ADA = ADAS[1]


def row(subject: str | None, minute: float = 0, model: str = "outcome", number: float = 0) -> Note:
    metadata = {"x-learnloop-subject": subject} if subject else {}
    given: dict[str, Any] = answered(number, metadata, model=model)
    return Note(time=(HOUR + timedelta(minutes=minute)).timestamp(), **given)


def journal_of(folder: Path, *notes: Note) -> Path:
    """A journal, a batch a row, whose server has died."""
    layout = Layout(KEY, 1.0, keeps_features=True)
    journal = Journal(folder, layout.batch([row(None)]).schema)
    for note in notes:
        journal.append(layout.batch([note]))
    journal.close()
    return journal.path


def subjects(folder: Path, model: str = "outcome") -> list[str | None]:
    found: list[str | None] = read_predictions(folder, model)["subject"].to_pylist()
    return found


ROWS = st.lists(
    st.tuples(st.sampled_from([ADA, OLD_ADA, BOB, None]), st.integers(-70, 130)), max_size=8
)


@settings(max_examples=20)
@given(st.lists(ROWS, max_size=3))
def test_the_rows_of_one_go(journals: list[list[tuple[str | None, int]]]) -> None:
    """From parts, from journals of servers that died, and from those that are both."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, rows in enumerate(journals):
            path = journal_of(folder, *(row(*one) for one in rows))
            if number < 2:
                make_parts(path, folder)
            if number == 1:
                path.unlink()
        there = [subject for rows in journals for subject, _ in rows]
        gone = [subject for subject in there if subject in ADAS]
        assert erase_predictions(folder, ADAS) == len(gone)
        left = sorted(str(subject) for subject in there if subject not in ADAS)
        assert sorted(map(str, subjects(folder))) == left
        assert holding(folder, *(one.encode() for one in ADAS)) == []
        assert not list(folder.glob(f"{JOURNALS}/*"))
        assert erase_predictions(folder, ADAS) == 0


@settings(max_examples=20)
@given(ROWS, st.sets(st.sampled_from([ADA, OLD_ADA, BOB])), st.integers(-80, 220))
def test_what_is_old_goes_except_what_is_held(
    rows: list[tuple[str | None, int]], held: set[str], minute: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        journal_of(folder, *(row(*one) for one in rows))
        left = [subject for subject, at in rows if at >= minute or subject in held]
        expired = expire_predictions(folder, HOUR + timedelta(minutes=minute), held)
        assert expired == len(rows) - len(left)
        assert sorted(map(str, subjects(folder))) == sorted(map(str, left))
        for hour in folder.glob("model=*/date=*/hour=*"):
            began = datetime.strptime(hour.parent.name + hour.name, "date=%Y-%m-%dhour=%H")
            is_over = began.replace(tzinfo=UTC) + timedelta(hours=1) <= HOUR + timedelta(
                minutes=minute
            )
            assert not is_over or any(parquet.read_metadata(p).num_rows for p in hour.iterdir())


def test_what_a_server_was_told_a_moment_ago_is_erased(tmp_path: Path) -> None:
    """Also what it has not yet written down at all; it goes on with the others."""
    settings = LogSettings(tmp_path, flush_seconds=0.5, part_seconds=3_600)
    with PredictionLog(settings) as log, PredictionLog(settings) as other:
        for number in range(10):
            log(**answered(number, {"x-learnloop-subject": ADA if number % 2 else BOB}))
            other(**answered(number, {"x-learnloop-subject": ADA}, model="other"))
        erased = erase_predictions(tmp_path, ADAS)
        assert erased == 15
        assert holding(tmp_path, ADA.encode()) == []
        assert subjects(tmp_path) == [BOB] * 5
        log(**answered(10, {"x-learnloop-subject": BOB}))
    assert subjects(tmp_path) == [BOB] * 6
    assert (log.counts.dropped, log.counts.faults) == (0, 0)


def test_what_is_told_while_a_turn_ends_is_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told after the notes were written, before the server sees that the turn is over."""
    erased: list[int] = []
    erasing = threading.Thread(target=lambda: erased.append(erase_predictions(tmp_path, ADAS)))
    real = PredictionLog._append_all

    def append_all(log: PredictionLog) -> None:
        real(log)
        if erasing.ident is None:
            log(**answered(1, {"x-learnloop-subject": ADA}))
            erasing.start()
            wait_until(lambda: log._turn is not None and log._turn.is_over)

    monkeypatch.setattr(PredictionLog, "_append_all", append_all)
    with PredictionLog(LogSettings(tmp_path, flush_seconds=0.05)):
        wait_until(lambda: erasing.ident is not None)
        erasing.join(60)
        assert erased == [1]
        assert holding(tmp_path, ADA.encode()) == []


def test_a_busy_server_loses_nothing_of_others(tmp_path: Path) -> None:
    """Erased from again and again, while it makes parts of its own all the time."""
    settings = LogSettings(tmp_path, flush_seconds=0.005, part_seconds=0.05)
    is_over = threading.Event()
    told = [0]
    with PredictionLog(settings) as log:

        def tell() -> None:
            while not is_over.is_set():
                log(**answered(told[0], {"x-learnloop-subject": BOB}))
                log(**answered(-1, {"x-learnloop-subject": ADA}))
                told[0] += 1
                time.sleep(0.0005)

        telling = threading.Thread(target=tell)
        telling.start()
        try:
            erased = [erase_predictions(tmp_path, ADAS) for _ in range(5)]
        finally:
            is_over.set()
            telling.join()
        erased.append(erase_predictions(tmp_path, ADAS))
        assert holding(tmp_path, ADA.encode()) == []
        assert sum(erased) == told[0]
        rows = read_predictions(tmp_path, "outcome")
        assert sorted(rows["feature.x"].to_pylist()) == [float(n) for n in range(told[0])]
        assert log.counts.faults == 0


def test_what_a_killed_one_left_of_others_is_removed(tmp_path: Path) -> None:
    make_parts(journal_of(tmp_path, row(BOB)), tmp_path)
    (part,) = tmp_path.rglob("*.parquet")
    part.with_name(UNFINISHED.format(part.name)).write_text(ADA)
    erase_predictions(tmp_path, ADAS)
    assert holding(tmp_path, ADA.encode()) == []


@pytest.mark.parametrize("remove", ["erase", "expire"])
def test_killed_before_any_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remove: str
) -> None:
    """Readers see no torn part at any time, and calling it again finishes."""
    for minute in (0, 70, 130):
        path = journal_of(tmp_path, row(ADA, minute), row(BOB, minute), row(OLD_ADA, minute))
        if minute < 100:
            make_parts(path, tmp_path)
    act: Callable[[], int] = (
        (lambda: erase_predictions(tmp_path, ADAS))
        if remove == "erase"
        else (lambda: expire_predictions(tmp_path, HOUR + timedelta(days=1), {BOB}))
    )
    deaths = 0
    while True:
        with forked(
            partial(die_after, monkeypatch, ("replace", "rename", "unlink"), deaths, act)
        ) as process:
            _, status = os.waitpid(process, 0)
        assert subjects(tmp_path).count(BOB) >= 2
        if not os.WIFSIGNALED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        deaths += 1
    assert deaths >= 6
    assert subjects(tmp_path) == [BOB] * 3
    assert holding(tmp_path, *(one.encode() for one in ADAS)) == []
    assert not list(tmp_path.rglob("*.erasing"))


def test_a_server_that_makes_parts_of_what_was_left_is_waited_for(tmp_path: Path) -> None:
    path = journal_of(tmp_path, row(ADA), row(BOB))
    erased: list[int] = []
    erasing = threading.Thread(target=lambda: erased.append(erase_predictions(tmp_path, ADAS)))
    with hold_file(tmp_path / RECOVERING, 0.0) as is_held:
        assert is_held
        erasing.start()
        erasing.join(0.3)
        assert erased == []
        make_parts(path, tmp_path)
        path.unlink()
    erasing.join(60)
    assert erased == [1]
    assert subjects(tmp_path) == [BOB]


def test_a_server_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal_of(tmp_path, row(ADA))
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.1)
    hanging = Turn(tmp_path)
    with pytest.raises(LearnLoopError) as error:
        erase_predictions(tmp_path, ADAS)
    assert str(error.value) == (
        "A server has not written down its answers for 0 s.\n"
        f"  where:    {tmp_path}\n"
        "  expected: servers that make parts of what they were told\n"
        "  next:     see that their disk has room, then do the same again"
    )
    assert hanging.is_over
    hanging.close()
    assert erase_predictions(tmp_path, ADAS) == 1


def test_a_turn_that_was_replaced_before_it_was_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = turns.fcntl.flock
    replaced: list[int] = []

    def flock(file: int, how: int) -> None:
        if not replaced:
            replaced.append(file)
            (tmp_path / "new").touch()
            (tmp_path / "new").replace(tmp_path / turns.TURN)
        real(file, how)

    monkeypatch.setattr(turns.fcntl, "flock", flock)
    assert not Turn(tmp_path).is_over


def test_one_removes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnloop.erasing.PATIENCE_SECONDS", 0.05)
    with hold_file(tmp_path / "erasing.lock", 0.0), pytest.raises(UsageError) as error:
        erase_predictions(tmp_path, ADAS)
    assert str(error.value) == (
        f"Somebody else is erasing.\n  where:    {tmp_path}\n  next:     do it again later"
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert erase_predictions(tmp_path / "predictions", ADAS) == 0
    assert expire_predictions(tmp_path / "predictions", HOUR) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_moment_without_a_time_zone(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        expire_predictions(tmp_path, datetime(2026, 3, 2))
    assert error.value.what == "A moment without a time zone is not one moment."
