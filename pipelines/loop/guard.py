"""Ends what a turn has started, should the turn itself be killed and not be able to.

Whatever belongs to a turn has its folder in the environment, so it is found whoever started it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ENDED = b"ended"
PATIENCE_SECONDS = 30.0


@contextlib.contextmanager
def guard(folder: Path) -> Iterator[None]:
    """Have another process watch over this one until the block ends.

    Args:
        folder: The turn's folder: what has it in its environment is killed with this process, and
            the folder removed.
    """
    command = [sys.executable, "-m", __name__, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watching:
        assert watching.stdin is not None
        try:
            yield
        finally:
            watching.stdin.write(ENDED)
            watching.stdin.close()


def main() -> int:
    """Wait until standard input ends; clean up where nobody has said that the turn ended.

    Returns:
        The exit code.
    """
    folder = Path(sys.argv[1])
    if sys.stdin.buffer.read() == ENDED:
        return 0
    until = time.monotonic() + PATIENCE_SECONDS
    while (left := members(folder)) and time.monotonic() < until:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def members(folder: Path) -> list[int]:
    """Find the processes of a turn.

    Args:
        folder: Its folder.

    Returns:
        Their ids, this process left out.
    """
    wanted = os.fsencode(folder) + b"/"
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if wanted in (place / "environ").read_bytes() and int(place.name) != os.getpid():
                found.append(int(place.name))
    return found


if __name__ == "__main__":
    sys.exit(main())
