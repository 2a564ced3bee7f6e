"""Run the small pipeline in this process and die inside one step, as soon as it has written.

``python -m tests.components.killed SOURCE STEP``: the process is killed when a file of the step's
outputs appears in the staging folder, or at the latest when its function returns. Without a step
nothing is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from learnloop import step
from learnloop.artifacts import DESCRIPTION
from tests.components.small import small


def main() -> None:
    """Run, and die if told to."""
    source, victim = sys.argv[1], sys.argv[2]
    call = step._Execution._call

    def calling(self: Any, arguments: Any) -> tuple[str, ...]:
        if self.spec.step != victim:
            return call(self, arguments)
        folders = [arguments[name].path for name in self.component.outputs]
        threading.Thread(target=_die_when_written, args=(folders,), daemon=True).start()
        call(self, arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process goes no further")

    step._Execution._call = calling  # type: ignore[method-assign]
    ended = small.run(source=source)
    assert ended.status == "done", ended.error


def _die_when_written(folders: Iterable[Path]) -> None:
    while True:
        for folder in folders:
            if any(path.name != DESCRIPTION for path in folder.rglob("*")):
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.0005)


if __name__ == "__main__":
    main()
