"""A process that dies in the middle of its work, at a place that a test chooses."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest


def die_after(
    patch: pytest.MonkeyPatch, names: Sequence[str], changes: int, act: Callable[[], int]
) -> bool:
    """Do something and die at the change of a file after so many.

    Args:
        patch: Of this process, which a test has forked.
        names: The methods of ``Path`` that are changes.
        changes: How many are done.
        act: What to do.
    """
    done: list[Path] = []

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(self: Path, *given: Any, **named: Any) -> Any:
            if len(done) == changes:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(self)
            return change(self, *given, **named)

        return changed

    for name in names:
        patch.setattr(Path, name, dying(getattr(Path, name)))
    act()
    return True
