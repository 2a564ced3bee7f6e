"""Publishing to a folder: versions by one rename, the document under a lock.

The lock is the operating system's, on a file of its own, so that it ends with its holder however
that ends. Files that servers and commands read are written aside, brought to the disk and renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from learnloop.store.local import explain_disk_faults, is_abandoned
from serving import publish
from serving.configs import (
    BATCHING,
    BATCHING_TEXT,
    MONITORING,
    MONITORING_TEXT,
    ROLLOUT,
    models_configs,
)
from serving.publish import INCOMING, MANIFEST, Publication, PublishedVersion
from serving.state import Rollout

LOCK = ".rollout.lock"
REMOVING = ".removing-"
LEFT_BEHIND_SECONDS = 24 * 3600.0
"""What a killed process left under a name that is not a number goes after so long."""


@dataclass(frozen=True)
class FolderPlace:
    """See :class:`serving.places.Place`.

    Args:
        folder: The base folder.
        mount: The base folder as servers see it.
    """

    folder: Path
    mount: str

    @property
    def location(self) -> str:
        """See :class:`serving.places.Place`."""
        return str(self.folder)

    def publish(self, name: str, publication: Publication) -> PublishedVersion:
        """See :class:`serving.places.Place`."""
        return publish.publish_version(publication, self.folder / name)

    def find(self, name: str, version: int) -> PublishedVersion | None:
        """See :class:`serving.places.Place`."""
        folder = self.folder / name / str(version)
        try:
            return PublishedVersion(str(folder), json.loads((folder / MANIFEST).read_bytes()))
        except (OSError, ValueError):
            return None

    def why_not_as_published(self, name: str, version: int) -> str:
        """See :class:`serving.places.Place`."""
        return publish.why_not_as_published(self.folder / name / str(version))

    def remove(self, name: str, version: int) -> None:
        """Rename the version to what is no number, then delete it; clear what kills left behind."""
        base = self.folder / name
        with explain_disk_faults(base), contextlib.suppress(FileNotFoundError):
            leaving = base / f"{REMOVING}{version}-{uuid.uuid4().hex[:8]}"
            (base / str(version)).rename(leaving)
            shutil.rmtree(leaving, ignore_errors=True)
        for remains in (*base.glob(f"{INCOMING}*"), *base.glob(f"{REMOVING}*")):
            if is_abandoned(remains, LEFT_BEHIND_SECONDS):
                shutil.rmtree(remains, ignore_errors=True)

    def read(self) -> Rollout:
        """See :class:`serving.places.Place`."""
        path = self.folder / ROLLOUT
        with explain_disk_faults(path):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                return Rollout()
        return Rollout.from_json(text, path)

    def change(self, change: Callable[[Rollout], Rollout]) -> Rollout:
        """See :class:`serving.places.Place`."""
        with explain_disk_faults(self.folder), self._lock():
            before = self.read()
            after = change(before)
            if after != before:
                self._write(ROLLOUT, after.to_json())
            for name, text in models_configs(after, self.mount).items():
                if not self._has(name, text):
                    self._write(name, text)
            for name, text in ((BATCHING, BATCHING_TEXT), (MONITORING, MONITORING_TEXT)):
                if not (self.folder / name).exists():
                    self._write(name, text)
        return after

    def is_current(self) -> bool:
        """See :class:`serving.places.Place`."""
        texts = models_configs(self.read(), self.mount)
        return all(self._has(name, text) for name, text in texts.items())

    def _has(self, name: str, text: str) -> bool:
        path = self.folder / name
        return path.is_file() and path.read_text() == text

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self, name: str, text: str) -> None:
        """Replace a file so that a reader, and a power cut, find the old one or the new one."""
        aside = self.folder / f".{name}-{uuid.uuid4().hex[:8]}"
        try:
            with aside.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(self.folder / name)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
