"""A store in a local folder.

::

    artifacts/<pipeline>/<step>/<execution>/<output>/…   published, with manifest.json
    staging/<execution>/<output>/…                       private to the step that writes it
    trash/…                                              being deleted

Publishing is one rename on one file system. Files are not synchronised to the disk one by one: what
a power cut takes is found by its digest when it is next used, and made again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from learnloop.errors import CorruptArtifact, LearnLoopError
from learnloop.holding import is_held
from learnloop.store.protocol import MANIFEST, Manifest, already_published


@dataclass(frozen=True)
class LocalStore:
    """A store in a folder. Open it with :meth:`open`.

    Args:
        root: The folder.
    """

    root: Path

    @classmethod
    def open(cls, location: str) -> LocalStore:
        """Open a folder, making it where it does not exist.

        Args:
            location: The folder.

        Raises:
            LearnLoopError: It cannot be written.
        """
        store = cls(Path(location).resolve())
        with explain_disk_faults(store.root):
            for folder in (store._artifacts, store._staging):
                folder.mkdir(parents=True, exist_ok=True)
        return store

    @property
    def _artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def _staging(self) -> Path:
        return self.root / "staging"

    def stage(self, execution: str) -> Path:
        """See :meth:`learnloop.store.Store.stage`."""
        folder = self._staging / execution.rpartition("/")[2]
        with explain_disk_faults(folder):
            folder.mkdir(parents=True)
        return folder

    def publish(self, execution: str, staged: Path) -> Manifest:
        """See :meth:`learnloop.store.Store.publish`."""
        target = self._artifacts / execution
        with explain_disk_faults(target):
            manifest = Manifest.of_folder(staged)
            (staged / MANIFEST).write_bytes(manifest.to_json())
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                staged.rename(target)
            except OSError as fault:
                if fault.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                raise already_published(target) from None
        return manifest

    def discard(self, staged: Path) -> None:
        """See :meth:`learnloop.store.Store.discard`."""
        shutil.rmtree(staged, ignore_errors=True)

    def uri(self, execution: str, output: str) -> str:
        """See :meth:`learnloop.store.Store.uri`."""
        return str(self._artifacts / execution / output)

    def fetch(self, uri: str) -> Path:
        """See :meth:`learnloop.store.Store.fetch`."""
        path = Path(uri)
        if not path.is_relative_to(self._artifacts):
            raise CorruptArtifact(
                "An artifact is not in this store.", where=uri, expected=self._artifacts
            )
        if not (path.parent / MANIFEST).is_file() or not path.is_dir():
            raise CorruptArtifact(
                "An artifact is not in the store.", where=uri, next="run the pipeline again"
            )
        return path

    def verify(self, execution: str, manifest_digest: str) -> None:
        """See :meth:`learnloop.store.Store.verify`."""
        folder = self._artifacts / execution
        manifest = self._manifest(execution)
        if manifest.digest() != manifest_digest:
            raise CorruptArtifact("A manifest has been changed.", where=folder / MANIFEST)
        manifest.check_folder(folder)

    def executions(self) -> Iterator[str]:
        """See :meth:`learnloop.store.Store.executions`."""
        for path in sorted(self._artifacts.glob(f"*/*/*/{MANIFEST}")):
            yield path.parent.relative_to(self._artifacts).as_posix()

    def size(self, execution: str) -> int:
        """See :meth:`learnloop.store.Store.size`."""
        return self._manifest(execution).size

    def delete(self, execution: str) -> None:
        """See :meth:`learnloop.store.Store.delete`."""
        trash = self.root / "trash" / uuid.uuid4().hex
        with explain_disk_faults(self.root):
            trash.parent.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                (self._artifacts / execution).rename(trash)
        shutil.rmtree(trash, ignore_errors=True)

    def purge(self, execution: str) -> None:
        """See :meth:`learnloop.store.Store.purge`."""
        self.delete(execution)
        with explain_disk_faults(self.root):
            for trash in self.root.glob("trash/*"):
                with contextlib.suppress(FileNotFoundError):  # somebody else clears away
                    shutil.rmtree(trash)  # what could not be removed is told here

    def remove_abandoned(self, older_than_seconds: float) -> int:
        """See :meth:`learnloop.store.Store.remove_abandoned`."""
        remains = [p for p in self._artifacts.glob("*/*/*") if not (p / MANIFEST).exists()]
        abandoned = [
            folder
            for folder in (*self._staging.glob("*"), *remains)
            if is_abandoned(folder, older_than_seconds)
        ]
        for folder in (*abandoned, *self.root.glob("trash/*")):
            shutil.rmtree(folder, ignore_errors=True)
        return len(abandoned)

    def _manifest(self, execution: str) -> Manifest:
        path = self._artifacts / execution / MANIFEST
        try:
            return Manifest.from_json(path.read_bytes(), path)
        except FileNotFoundError:
            raise CorruptArtifact("An artifact is not in the store.", where=path.parent) from None


def is_abandoned(folder: Path, older_than_seconds: float) -> bool:
    """Tell whether nobody works in a folder any more.

    Args:
        folder: A folder that a step made for itself.
        older_than_seconds: A younger one may belong to a process on another machine.
    """
    try:
        is_old = folder.stat().st_mtime < time.time() - older_than_seconds
    except FileNotFoundError:
        return False
    return is_old and not is_held(folder)


@contextlib.contextmanager
def explain_disk_faults(place: Path) -> Iterator[None]:
    """Turn the operating system's errors into ones a person can act on.

    Args:
        place: What was being written.

    Raises:
        LearnLoopError: The disk is full, read-only or closed to this user.
    """
    try:
        yield
    except OSError as fault:
        raise disk_fault(fault, place) from fault


def disk_fault(fault: OSError, place: Path | str) -> LearnLoopError:
    """Explain an operating system's error.

    Args:
        fault: The error.
        place: What was being read or written.

    Returns:
        The error to raise.
    """
    explanations = {
        errno.ENOSPC: ("The disk is full.", "free some space, for example with: learnloop gc"),
        errno.EDQUOT: ("The disk quota is used up.", "free some space: learnloop gc"),
        errno.EROFS: ("The file system is read-only.", "mount it writable, or set LEARNLOOP_HOME"),
        errno.EACCES: ("This user may not write there.", "change the owner, or set LEARNLOOP_HOME"),
    }
    code = fault.errno or 0
    what, advice = explanations.get(code, (f"The disk failed: {os.strerror(code)}.", ""))
    return LearnLoopError(what, where=fault.filename or place, next=advice)
