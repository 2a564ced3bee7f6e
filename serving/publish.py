"""Publishing a version under TensorFlow Serving's base path.

TensorFlow Serving takes any child folder whose name is a number for a version, and knows no marker
of completeness. So a version is built in a folder whose name is not a number, on the same file
system, and appears by one rename: no server can see it half-written. ``manifest.json`` in it names
the digest of every file.
"""

from __future__ import annotations

import errno
import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnloop.artifacts import digest_file
from learnloop.errors import UsageError
from learnloop.store.local import explain_disk_faults

MANIFEST = "manifest.json"
INCOMING = ".incoming-"


@dataclass(frozen=True)
class PublishedVersion:
    """A version under a base path.

    Args:
        location: The version's folder, or the beginning of its objects' URIs.
        manifest: What its ``manifest.json`` says.
    """

    location: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Publication:
    """What is to be published.

    Args:
        saved_model: The SavedModel's folder.
        version: The version's number.
        digest: The model's content digest: equal models may differ in bytes.
        lineage: Where the model comes from (``mlflow_version``, ``mlflow_run_id``, ``run_id``, the
            digests of what it was made of); part of the manifest.
        complete: Adds to the copy before it appears (warm-up requests).
    """

    saved_model: Path
    version: int
    digest: str
    lineage: Mapping[str, str]
    complete: Callable[[Path], None] = lambda folder: None

    def build(self, folder: Path) -> dict[str, Any]:
        """Write the version, complete with its manifest.

        Args:
            folder: Where; it must not exist.

        Returns:
            The manifest.
        """
        shutil.copytree(self.saved_model, folder)
        self.complete(folder)
        manifest = {
            "version": self.version,
            "digest": self.digest,
            "lineage": dict(self.lineage),
            "files": digests(folder),
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
        return manifest


def publish_version(publication: Publication, base: Path) -> PublishedVersion:
    """Copy a SavedModel to ``base/version``, all at once.

    Args:
        publication: What is to be published.
        base: The model's base path; made where it does not exist.

    Returns:
        The published version; an equal model that is there already is left as it is.

    Raises:
        UsageError: Another model is published under this number.
        LearnLoopError: The disk failed.
    """
    version = publication.version
    target = base / str(version)
    if target.exists():
        return _already_published(target, publication.digest)
    incoming = base / f"{INCOMING}{version}-{uuid.uuid4().hex[:8]}"
    with explain_disk_faults(incoming):
        base.mkdir(parents=True, exist_ok=True)
        try:
            manifest = publication.build(incoming)
            incoming.rename(target)
        except OSError as fault:
            shutil.rmtree(incoming, ignore_errors=True)
            if fault.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return _already_published(target, publication.digest)  # another process was first
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            raise
    return PublishedVersion(str(target), manifest)


def why_not_as_published(folder: Path) -> str:
    """Compare a published version with its manifest.

    Args:
        folder: The version's folder.

    Returns:
        "" if every file is as it was published, else a sentence that says what is not.
    """
    if not folder.is_dir():
        return f"{folder} is not there."
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return f"{folder / MANIFEST} cannot be read."
    return difference(manifest["files"], digests(folder), str(folder))


def difference(expected: Mapping[str, str], received: Mapping[str, str], where: str) -> str:
    """Say which file is not as it was published, or "".

    Args:
        expected: Digest by file, as the manifest has it.
        received: Digest by file, as they are.
        where: The version's folder or URI.
    """
    for name in sorted({*expected, *received}):
        if expected.get(name) != received.get(name):
            return f"{where}/{name} is not as it was published."
    return ""


def digests(folder: Path) -> dict[str, str]:
    """Digest every file of a version but its manifest, by path relative to it."""
    return {
        path.relative_to(folder).as_posix(): digest_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def version_is_taken(where: str, problem: str) -> UsageError:
    """The error of publishing another model under a number that is in use."""
    return UsageError(
        "This version number is taken by something else.",
        where=where,
        expected="no folder, or the same model with its manifest",
        received=problem,
        next=f"move {where} away, then run the same command again",
    )


def _already_published(target: Path, digest: str) -> PublishedVersion:
    problem = why_not_as_published(target)
    if not problem:
        manifest = json.loads((target / MANIFEST).read_bytes())
        if manifest["digest"] == digest:
            return PublishedVersion(str(target), manifest)
        problem = f"{target} holds another model."
    raise version_is_taken(str(target), problem)
