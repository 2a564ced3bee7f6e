"""What every store does, and the manifest of a published execution."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from learnloop.artifacts import digest_file
from learnloop.errors import CorruptArtifact, LearnLoopError

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1


@dataclass(frozen=True)
class FileEntry:
    """A file as it was published.

    Args:
        size: Bytes.
        sha256: Digest of the bytes, in hexadecimal.
        tag: What the store itself calls these bytes, by which it is asked whether they still are.
    """

    size: int
    sha256: str
    tag: str = ""

    def check_file(self, path: Path, where: object) -> None:
        """Compare a file's bytes with those published.

        Args:
            path: The file.
            where: What it is called, for the error.

        Raises:
            CorruptArtifact: It has other bytes, or cannot be read.
        """
        try:
            received = digest_file(path)
        except OSError as fault:
            raise CorruptArtifact(
                "A published artifact cannot be read.", where=where, received=fault
            ) from fault
        if received != self.sha256:
            raise CorruptArtifact(
                "A published artifact's bytes have changed.",
                where=where,
                expected=f"sha256 {self.sha256}",
                received=f"sha256 {received}",
            )


@dataclass(frozen=True)
class Manifest:
    """Every file of a published execution, by path relative to it (``output/file``)."""

    files: Mapping[str, FileEntry]

    @classmethod
    def of_folder(cls, folder: Path) -> Manifest:
        """Read every file of a folder and digest it.

        Args:
            folder: The folder; a manifest in it does not count.
        """
        files = {}
        for name in _names(folder):
            if name != MANIFEST:
                path = folder / name
                files[name] = FileEntry(path.stat().st_size, digest_file(path))
        return cls(files)

    @classmethod
    def from_json(cls, text: bytes, where: object) -> Manifest:
        """Read a manifest.

        Args:
            text: JSON.
            where: Where it was read, for the error.

        Raises:
            CorruptArtifact: It is not a manifest.
        """
        try:
            document = json.loads(text)
            files = {name: FileEntry(**entry) for name, entry in document["files"].items()}
        except (ValueError, KeyError, TypeError) as fault:
            raise CorruptArtifact(
                "A manifest is not readable.", where=where, received=repr(fault)
            ) from None
        return cls(files)

    def to_json(self) -> bytes:
        """Write the manifest, equal for equal files."""
        files = {
            name: {key: value for key, value in vars(entry).items() if value != ""}
            for name, entry in self.files.items()
        }
        document = {"format": MANIFEST_FORMAT, "files": files}
        return json.dumps(document, indent=1, sort_keys=True).encode()

    def digest(self) -> str:
        """Digest the manifest itself; it stands for all bytes that it names."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())

    def under(self, output: str) -> dict[str, FileEntry]:
        """The files of one output, by name."""
        return {n: entry for n, entry in self.files.items() if n.startswith(f"{output}/")}

    def check_folder(self, folder: Path) -> None:
        """Compare a folder with the manifest, byte for byte.

        Args:
            folder: A published execution, or a copy of it.

        Raises:
            CorruptArtifact: A file is missing, was added, has other bytes, or cannot be read.
        """
        found = set(_names(folder))
        for name in sorted(found.symmetric_difference({*self.files, MANIFEST})):
            raise CorruptArtifact(
                "A published artifact has a file too many."
                if name in found
                else "A published artifact lacks a file.",
                where=folder / name,
            )
        for name, entry in self.files.items():
            entry.check_file(folder / name, folder / name)


def _names(folder: Path) -> list[str]:
    """Every file below a folder, by path relative to it, sorted."""
    start = len(str(folder)) + 1
    return sorted(
        f"{parent}/{name}"[start:] for parent, _, names in os.walk(folder) for name in names
    )


class Store(Protocol):
    """A place for artifacts. ``execution`` is ``pipeline/step/execution_id``."""

    def stage(self, execution: str) -> Path:
        """Make a private local folder to write an execution's outputs into.

        Raises:
            LearnLoopError: The place cannot be written.
        """

    def publish(self, execution: str, staged: Path) -> Manifest:
        """Make what was staged visible, all at once, and return its manifest.

        Raises:
            LearnLoopError: It could not be stored, and nothing is visible; or the execution is
                published already, and stays as it is.
        """

    def discard(self, staged: Path) -> None:
        """Remove a staging folder that will not be published."""

    def uri(self, execution: str, output: str) -> str:
        """Name a published output for anyone who can reach the store."""

    def fetch(self, uri: str) -> Path:
        """Give a local folder with a published output's files.

        Raises:
            CorruptArtifact: It is not there, or a copy's bytes are not those published.
        """

    def verify(self, execution: str, manifest_digest: str) -> None:
        """Check that a published execution is there, byte for byte.

        Args:
            execution: What to check.
            manifest_digest: The digest of the manifest as it was published.

        Raises:
            CorruptArtifact: It is not as it was published.
        """

    def executions(self) -> Iterator[str]:
        """List what is published."""

    def size(self, execution: str) -> int:
        """Bytes of a published execution."""

    def delete(self, execution: str) -> None:
        """Remove a published execution; readers see all of it or nothing. Again does no harm."""

    def purge(self, execution: str) -> None:
        """Remove a published execution so that nobody can have it back: a person was erased.

        Raises:
            LearnLoopError: A file of it is still there; purge again.
        """

    def remove_abandoned(self, older_than_seconds: float) -> int:
        """Remove what killed processes left behind: staging folders, unfinished uploads, remains.

        Args:
            older_than_seconds: Younger ones may belong to a process on another machine.

        Returns:
            How many executions had left something.
        """


def already_published(where: object) -> LearnLoopError:
    """The error of publishing an execution twice."""
    return LearnLoopError(
        "This execution is published already, and what is published never changes.", where=where
    )
