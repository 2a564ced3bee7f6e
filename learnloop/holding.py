"""Holding a folder: so long as a process lives, nobody clears away what it works in.

A hold is a lock of the operating system on the folder itself. It ends with the process, however
that ends, so that what a killed step left behind is told from what a living one still needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

POLL_SECONDS = 0.02


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[bool]:
    """Make a folder and hold it for the length of a ``with`` block.

    Args:
        folder: The folder; it may be moved or removed meanwhile.

    Yields:
        Whether it is held: False if another process, or another thread, holds it already.

    Raises:
        OSError: The folder cannot be made.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            is_held = _lock(handle)
            # Its last holder may have removed it between the two calls above.
            if not is_held or _is_still(folder, handle):
                yield is_held
                return
        finally:
            os.close(handle)


def is_held(folder: Path) -> bool:
    """Tell whether a living process holds a folder.

    Args:
        folder: The folder; one that is gone is held by nobody.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def hold_file(file: Path, seconds: float) -> Iterator[bool]:
    """Hold a file for the length of a ``with`` block, waiting for whoever holds it.

    Args:
        file: The file; made where it is not there, and never removed.
        seconds: How long to wait.

    Yields:
        Whether it is held: False if somebody else held it all the time.

    Raises:
        OSError: The file cannot be made.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        patience = time.monotonic() + seconds
        while not (is_held := _lock(handle)) and time.monotonic() < patience:
            time.sleep(POLL_SECONDS)
        yield is_held
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a network file system without locks: age alone tells what was left behind
    return True


def _is_still(folder: Path, handle: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
