"""Turns: how whoever erases knows that all answers of before are in parts, also of live servers.

A server holds the file of the turn, together with other servers. To begin a new turn, another file
takes its place; a server that sees it writes down what it was told, makes parts of it, and only
then lets go of the old file for the new one. When nobody holds the old file any more, every answer
from before the turn is in a part, or in the journal of a server that has died.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from learnloop.errors import LearnLoopError

TURN = "turn.lock"
TURN_SECONDS = 60.0
"""How long servers have to write down what they were told."""

_POLL_SECONDS = 0.02


class Turn:
    """The turn of a server, held until it is closed or the process ends.

    Args:
        folder: The log's folder; made if it is not there.

    Raises:
        OSError: The disk refused.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / TURN
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            self._file = _open(self._path)
            fcntl.flock(self._file, fcntl.LOCK_SH)
            if not self.is_over:
                return
            self.close()  # it was replaced before it was held

    @property
    def is_over(self) -> bool:
        """Whether a new turn has begun."""
        try:
            return self._path.stat().st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return True

    def close(self) -> None:
        """Let go."""
        os.close(self._file)


def begin_turn(folder: Path) -> None:
    """Begin a new turn, and wait until all servers are in it.

    Args:
        folder: The log's folder, where nobody else begins a turn.

    Raises:
        LearnLoopError: A server does not write down what it was told.
        OSError: The disk refused.
    """
    path = folder / TURN
    before = _open(path)
    try:
        new = folder / f"{TURN}.new"
        new.touch()
        new.replace(path)
        patience = time.monotonic() + TURN_SECONDS
        while not _is_free(before):
            if time.monotonic() > patience:
                raise LearnLoopError(
                    f"A server has not written down its answers for {TURN_SECONDS:.0f} s.",
                    where=folder,
                    expected="servers that make parts of what they were told",
                    next="see that their disk has room, then do the same again",
                )
            time.sleep(_POLL_SECONDS)
    finally:
        os.close(before)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
