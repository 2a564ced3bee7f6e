"""Ends a step in the middle: when its time is over, or when a person cancels the run."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

from learnloop.errors import LearnLoopError, RunCancelled


class StepTimedOut(LearnLoopError):
    """A step took longer than its component allows."""

    def __init__(
        self, what: str = "The step took longer than its timeout.", **details: Any
    ) -> None:
        super().__init__(what, **details)


class Interruption(BaseException):
    """Is raised in a thread from outside, wherever that thread is.

    Not an ``Exception``: what stands in between (a logging handler, a connection pool, a
    component's own ``except``) must not take it for a fault of its own and go on.

    Args:
        details: What its error says, instead of what such an error says by itself.
    """

    kind: ClassVar[type[LearnLoopError]]

    def __init__(self, **details: str) -> None:
        super().__init__()
        self.error = self.kind(**details)
        """What a person is told, once the interruption has arrived."""


class TimeIsOver(Interruption):
    """Ends a step that took longer than its component allows."""

    kind = StepTimedOut


class Cancellation(Interruption):
    """Ends a step because a person asked for the run to stop."""

    kind = RunCancelled


def interrupt(thread: int, interruption: type[Interruption]) -> None:
    """Raise an interruption in another thread, at its next Python instruction.

    Args:
        thread: The thread's identifier; with 0 nothing is done.
        interruption: What to raise.
    """
    if thread:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread), ctypes.py_object(interruption)
        )


@contextlib.contextmanager
def explain_interruptions() -> Iterator[None]:
    """Turn an interruption of what a ``with`` block does into the error that it stands for.

    Raises:
        StepTimedOut: The time was over.
        RunCancelled: The run was cancelled.
    """
    try:
        yield
    except Interruption as interruption:
        raise interruption.error from interruption


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Interrupt what a ``with`` block does when its time is over.

    Args:
        seconds: How long it may take; None for ever.

    Raises:
        StepTimedOut: The time was over.
        RunCancelled: The run was cancelled.
    """
    with explain_interruptions():
        if seconds is None:
            yield
            return
        timer = threading.Timer(seconds, interrupt, (threading.get_ident(), TimeIsOver))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
