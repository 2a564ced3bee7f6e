"""A folder that appears whole or not at all.

The work is done in a hidden sibling, locked while its writer lives, and renamed at the end. A
killed writer leaves the sibling, which the next one into the same folder clears and takes over.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.settings import SimulationError


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Give a private folder to write in; it becomes ``folder`` when the block ends well.

    Args:
        folder: What shall appear. It may exist if it is empty.

    Yields:
        The private folder, empty.

    Raises:
        SimulationError: If the folder holds something, or another process is writing it.
    """
    _require_empty(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    private = folder.parent / f".{folder.name}.simulating"
    private.mkdir(exist_ok=True)
    lock = os.open(private, os.O_RDONLY)
    try:
        if not _is_locked(lock, private):
            raise SimulationError(
                "Another simulation is writing this folder.",
                where=str(folder),
                expected="one writer at a time",
                received=f"{private} is locked",
                next="Wait until it has finished, or name another folder.",
            )
        try:
            for left_behind in private.iterdir():
                _remove(left_behind)
            yield private
            private.replace(folder)
        except BaseException:
            shutil.rmtree(private, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _is_locked(lock: int, private: Path) -> bool:
    """Lock the private folder; False if another holds it or has just renamed it away."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return private.exists() and os.fstat(lock).st_ino == private.stat().st_ino


def _require_empty(folder: Path) -> None:
    if not folder.exists():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    held = f"a folder of {len(list(folder.iterdir()))} entries" if folder.is_dir() else "a file"
    raise SimulationError(
        "The folder to simulate into is not empty.",
        where=str(folder),
        expected="a new or empty folder",
        received=held,
        next=f"Name another folder, or remove this one: rm -r {folder}",
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
