"""Versions: where they lie on disk, and where each stands in the server."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import Hashable, Mapping
from pathlib import Path

from serving.server.contract import VersionState, VersionStatus
from serving.server.models.config import ModelConfig
from serving.server.models.servable import LoadedVersion

_NUMBER = re.compile(r"[0-9]+")
_HIGHEST = 2**63 - 1
_ENDED_KEPT = 32


def versions_on_disk(base: Path) -> dict[int, Path]:
    """Find the versions below a base path.

    Any child folder whose name is a number of 64 bits is one, as for TensorFlow Serving.

    Raises:
        OSError: The base path does not exist or cannot be read.
    """
    return {
        int(child.name): child
        for child in base.iterdir()
        if child.name.isascii()
        and _NUMBER.fullmatch(child.name)
        and int(child.name) <= _HIGHEST
        and child.is_dir()
    }


def trace_of(folder: Path) -> Hashable:
    """Say what a folder looks like, so that a change can be seen without reading it all."""
    try:
        return tuple(
            (str(path), status.st_size, status.st_mtime_ns)
            for path in sorted(folder.rglob("*"))
            for status in (path.stat(),)
        )
    except OSError:
        return None


class Version:
    """Where one version stands.

    Args:
        number: Its number.
        folder: Where it lies.

    Attributes:
        status: What callers are told.
        servable: What answers; None unless it is available.
        loading: The task that loads it; None when that is over.
        improving: The task that makes it faster; None where there is none.
        refused: The trace of the folder that was refused; None where it was not.
    """

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder
        self.status = VersionStatus(number, VersionState.START)
        self.servable: LoadedVersion | None = None
        self.loading: asyncio.Task[None] | None = None
        self.improving: asyncio.Task[None] | None = None
        self.refused: Hashable = None

    def become(self, state: VersionState, code: int = 0, message: str = "") -> None:
        """Enter a state."""
        self.status = VersionStatus(self.number, state, code, message)

    def let_go(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop offering it; it ends when the last request that has it is answered."""
        for task in (self.loading, self.improving):
            if task is not None:
                task.cancel()
        servable, self.servable = self.servable, None
        if servable is None:
            self.become(VersionState.END)
            return
        self.become(VersionState.UNLOADING)
        weakref.finalize(servable, self._freed, loop).atexit = False

    def _freed(self, loop: asyncio.AbstractEventLoop) -> None:
        # The last reference may go in any thread, and after the loop is closed.
        if not loop.is_closed():
            loop.call_soon_threadsafe(self.become, VersionState.END)

    @property
    def is_over(self) -> bool:
        """Whether it was let go or refused."""
        return self.status.state in (VersionState.UNLOADING, VersionState.END)


class Model:
    """One model: what is wanted of it, and what there is.

    Args:
        config: What is wanted.

    Attributes:
        versions: By number.
        wanted: The numbers that the policy chose, the highest first.
        labels: Those that point to an available version.
        latest: What answers where no version is named.
        is_held: While a reload may still be refused nothing is let go.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.versions: dict[int, Version] = {}
        self.wanted: list[int] = []
        self.labels: Mapping[str, int] = {}
        self.latest: LoadedVersion | None = None
        self.is_held = False

    def settle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go what is not wanted, if a wanted version answers; see what answers now."""
        available = [n for n, version in self.versions.items() if version.servable is not None]
        can_let_go = not self.wanted or any(number in available for number in self.wanted)
        if can_let_go and not self.is_held:
            for number, version in self.versions.items():
                if number not in self.wanted and not version.is_over:
                    version.let_go(loop)
            available = [number for number in available if number in self.wanted]
        offered = [number for number in available if number in self.wanted] or available
        self.latest = self.versions[max(offered)].servable if offered else None
        self.labels = {
            label: number for label, number in self.config.labels.items() if number in available
        }
        over = sorted(
            number
            for number, version in self.versions.items()
            if version.is_over and number not in self.wanted
        )
        for number in over[:-_ENDED_KEPT]:
            del self.versions[number]
