"""Each step's own log file, whichever thread or process the step runs in."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from io import TextIOWrapper
from pathlib import Path

from learnloop.settings import Settings

_current: ContextVar[str] = ContextVar("current_step", default="")


def log_folder(settings: Settings, run_id: str) -> Path:
    """Name the folder of a run's logs; see :mod:`learnloop.living` for who holds it.

    Args:
        settings: Names the home folder.
        run_id: The run.
    """
    return settings.home_folder / "logs" / run_id


def log_file(settings: Settings, run_id: str, step: str) -> Path:
    """Name a step's log file.

    Args:
        settings: Names the home folder.
        run_id: The run.
        step: The node's name.
    """
    return log_folder(settings, run_id) / f"{step}.log"


class _StepFile(logging.FileHandler):
    """A step's file, made when the step first has something to say."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; the file is opened first, which logging does not guard."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Say nothing of a log that cannot be written."""


@contextlib.contextmanager
def step_log(settings: Settings, run_id: str, step: str) -> Iterator[None]:
    """Send what this context logs to the step's file, for the length of a ``with`` block.

    Args:
        settings: Names the home folder.
        run_id: The run.
        step: The node's name.
    """
    logging.getLogger("learnloop").setLevel(logging.INFO)  # progress; libraries stay at warnings
    handler = _StepFile(log_file(settings, run_id, step))
    name = f"{run_id}/{step}"
    handler.addFilter(lambda record: _current.get() == name)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    token = _current.set(name)
    try:
        yield
    finally:
        _current.reset(token)
        root.removeHandler(handler)
        handler.close()
