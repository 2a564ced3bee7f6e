"""Holds on folders: one holder at a time, ended by its death, true to the folder itself."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from learnloop import holding
from learnloop.holding import hold, is_held
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
