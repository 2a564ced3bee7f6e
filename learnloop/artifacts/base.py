"""What every artifact is: a folder that describes itself, with metadata and a content digest."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError

FORMAT_VERSION = 1
DESCRIPTION = "_artifact.json"


class Artifact:
    """A folder with a type, metadata and a content digest.

    Subclasses add the typed reader and writer. An author may define further types in the same way.

    Args:
        path: The artifact's folder, which exists.
        writable: Whether the step that makes this artifact holds it.
    """

    summary: ClassVar[str] = "A folder of files."
    holds_rows: ClassVar[bool] = True
    """Whether rows of single people are in it, so that it goes when one of them is erased."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self._writable = writable
        description = self._read_description() if (path / DESCRIPTION).exists() else {}
        self._metadata: dict[str, Any] = description.get("metadata", {})
        self._content_digest: str | None = description.get("content_digest")

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new, empty artifact to write into.

        Args:
            path: A folder that is empty or does not exist yet.

        Returns:
            The writable artifact.

        Raises:
            UsageError: The folder holds something already.
        """
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(
                "An artifact is written once, into an empty folder.",
                where=path,
                expected="an empty folder",
                received="a folder with files in it",
            )
        artifact = cls(path, writable=True)
        artifact._save_description()
        return artifact

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an artifact for reading.

        Args:
            path: The artifact's folder.

        Returns:
            The artifact, read-only.

        Raises:
            LearnLoopError: No artifact of this type lies there.
        """
        if not (path / DESCRIPTION).exists():
            raise LearnLoopError(
                f"There is no {cls.__name__} artifact here.", where=path, expected=DESCRIPTION
            )
        return cls(path, writable=False)

    @classmethod
    def reference(cls) -> str:
        """Name this type as ``module:Class``, so that it can be found again."""
        return f"{cls.__module__}:{cls.__qualname__}"

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Small facts about the content, JSON-able; they count in the content digest."""
        return dict(self._metadata)

    def describe(self, **facts: Any) -> None:
        """Add small facts to the metadata.

        Args:
            **facts: JSON-able values, the same for the same content (no times, no paths).
        """
        self._require_writable()
        self._metadata.update(facts)
        self._save_description()

    def set_content_digest(self, digest: str) -> None:
        """Record the canonical digest of the content, where bytes differ from run to run.

        Args:
            digest: A hexadecimal digest that is equal for equal content.
        """
        self._require_writable()
        self._content_digest = digest
        self._save_description()

    def adopt(self, folder: Path) -> None:
        """Become a copy of an artifact that lies elsewhere, its description included.

        Args:
            folder: The other artifact's folder.

        Raises:
            LearnLoopError: No artifact lies there.
        """
        self._require_writable()
        other = type(self).open(folder)
        shutil.copytree(folder, self.path, dirs_exist_ok=True)
        self._metadata, self._content_digest = other._metadata, other._content_digest

    def content_digest(self) -> str:
        """Digest the content: the writer's canonical digest, else the bytes of every file.

        Returns:
            A SHA-256 in hexadecimal over the type, the metadata and the content.
        """
        content = self._content_digest or digest_folder(self.path, leave_out=(DESCRIPTION,))
        document = json.dumps([self.reference(), self._metadata, content], sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()

    def is_empty(self) -> bool:
        """Tell whether nothing was written (an optional output that was not made)."""
        return not self._metadata and not any(p.name != DESCRIPTION for p in self.path.iterdir())

    def _require_writable(self) -> None:
        if not self._writable:
            raise LearnLoopError(
                "A published artifact is only read; write to an output of the step.",
                where=self.path,
            )

    def _save_description(self) -> None:
        document = {
            "type": self.reference(),
            "format": FORMAT_VERSION,
            "metadata": self._metadata,
            "content_digest": self._content_digest,
        }
        (self.path / DESCRIPTION).write_text(json.dumps(document))

    def _read_description(self) -> dict[str, Any]:
        try:
            description: dict[str, Any] = json.loads((self.path / DESCRIPTION).read_bytes())
        except ValueError as fault:
            raise CorruptArtifact(
                "An artifact's description is not readable.", where=self.path, received=fault
            ) from None
        if description["format"] != FORMAT_VERSION:
            raise LearnLoopError(
                "An artifact has another format than this LearnLoop reads.",
                where=self.path,
                expected=f"format {FORMAT_VERSION}",
                received=f"format {description['format']}",
                next="install the LearnLoop that wrote it, or run the pipeline again",
            )
        return description


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path, leave_out: tuple[str, ...] = ()) -> str:
    """Digest a folder: every file's relative path and bytes.

    Args:
        folder: The folder.
        leave_out: Relative paths that do not count.

    Returns:
        A SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in leave_out:
            digest.update(f"{name}\0{digest_file(path)}\n".encode())
    return digest.hexdigest()
