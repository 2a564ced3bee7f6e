"""Holds on folders: one holder at a time, ended by its death, true to the folder itself."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from learnloop import holding
from learnloop.holding import hold, hold_file, is_held
from tests.learnloop import dying


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "work"
    with hold(folder) as first, hold(folder) as second:
        assert (first, second) == (True, False)
        assert is_held(folder)
    assert folder.is_dir()
    assert not is_held(folder)
    with hold(folder) as again:
        assert again


def test_a_file_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    is_there, may_go = threading.Event(), threading.Event()

    def hold_it() -> None:
        with hold_file(file, 0.0) as is_first:
            assert is_first
            is_there.set()
            may_go.wait(60)

    holder = threading.Thread(target=hold_it)
    holder.start()
    assert is_there.wait(60)
    with hold_file(file, 0.1) as is_second:
        assert not is_second
    threading.Timer(0.1, may_go.set).start()
    with hold_file(file, 60.0) as is_third:
        assert is_third
    holder.join()


def test_what_is_not_there_is_held_by_nobody(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "nothing")


def test_a_folder_may_move_or_go_while_it_is_held(tmp_path: Path) -> None:
    folder, moved = tmp_path / "work", tmp_path / "published"
    with hold(folder):
        folder.rename(moved)
        assert is_held(moved)
        shutil.rmtree(moved)
        with hold(folder) as other:
            assert other, "the name is free again"


def test_a_folder_that_its_last_holder_removed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes between being opened and being locked: the lock would be on what nobody can see."""
    folder = tmp_path / "work"
    lock = holding._lock
    locked: list[int] = []

    def remove_first(handle: int) -> bool:
        if not locked:
            folder.rmdir()
        locked.append(handle)
        return lock(handle)

    monkeypatch.setattr(holding, "_lock", remove_first)
    with hold(folder) as is_mine:
        assert is_mine
        assert folder.is_dir()
        assert is_held(folder)
    assert len(locked) == 3


def hold_until_killed(folder: Path) -> None:
    with hold(folder):
        (folder / "ready").touch()
        time.sleep(60)


def test_death_lets_go(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    process = dying.start(hold_until_killed, folder)
    deadline = time.monotonic() + 30
    while not (folder / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_held(folder)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert not is_held(folder)
