"""The server's side of :mod:`.prepare`: it starts the process, and keeps what that found.

Findings are kept by the content of the version, so a server that starts again, or another one that
serves the same bytes, does not wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnloop.artifacts import digest_file
from serving.publish import MANIFEST, why_not_as_published
from serving.server.contract import Code, ServingError
from serving.server.models.prepare import PLAN

_FORMAT = "1"
_LIBRARIES = ("tensorflow", "onnxruntime", "tf2onnx", "onnx")
_KEPT = 100
_CHECK_SECONDS = 600.0
_CONVERT_SECONDS = 1800.0


class Interrupted(Exception):
    """The process was killed from outside; trying again may help."""


@dataclass(frozen=True)
class Checked:
    """A version that loads and answers its warm-up requests.

    Args:
        key: The digest of its content and of what prepares it.
        seconds: Of one row and of many rows, by signature.
    """

    key: str
    seconds: Mapping[str, Sequence[float]]


class Preparation:
    """Tries versions and converts them, each in a process of its own.

    Args:
        cache: Where findings are kept.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._checks = asyncio.Semaphore(1)
        self._conversions = asyncio.Semaphore(1)
        cache.mkdir(parents=True, exist_ok=True)
        _prune(cache)

    async def check(self, folder: Path) -> Checked:
        """Try a version.

        Raises:
            ServingError: It is not as it was published, does not load, refuses its own warm-up
                requests, or crashed.
            Interrupted: The process was killed.
        """
        key = await asyncio.to_thread(content_key, folder)
        result = self._cache / key / "check.json"
        document = _read(result)
        if document is None:
            result.parent.mkdir(parents=True, exist_ok=True)
            async with self._checks:
                await _run(["check", str(folder), str(result)], _CHECK_SECONDS)
            document = json.loads(result.read_bytes())
        if "code" in document:
            result.unlink(missing_ok=True)  # what was refused is tried again
            raise ServingError(Code(document["code"]), document["message"])
        os.utime(result.parent)
        return Checked(key, document["seconds"])

    def plan(self, key: str) -> Path | None:
        """Find what was made of a version; None where that is still to be done."""
        folder = self._cache / key / "converted"
        return folder if (folder / PLAN).exists() else None

    async def convert(self, folder: Path, key: str) -> Path:
        """Convert a version that was checked.

        Returns:
            The folder with the plan.

        Raises:
            ServingError: The process failed.
            Interrupted: The process was killed.
        """
        async with self._conversions:
            target = self._cache / key / "converted"
            if not target.exists():
                await _run(["convert", str(folder), str(target)], _CONVERT_SECONDS)
            return target


def _read(result: Path) -> Any:
    """Read a finding; None where there is none, or a power cut has left none of it."""
    try:
        return json.loads(result.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def content_key(folder: Path) -> str:
    """Digest a version's content, and compare it with its manifest where there is one.

    Raises:
        ServingError: ``DATA_LOSS``: it is not as it was published, or cannot be read.
    """
    try:
        if (folder / MANIFEST).exists():
            if problem := why_not_as_published(folder):
                raise ServingError(Code.DATA_LOSS, problem)
            files = json.loads((folder / MANIFEST).read_bytes())["files"]
        else:
            files = {
                path.relative_to(folder).as_posix(): digest_file(path)
                for path in folder.rglob("*")
                if path.is_file()
            }
    except OSError as fault:
        raise ServingError(Code.DATA_LOSS, f"{folder} cannot be read: {fault}") from None
    libraries = [_version_of(library) for library in _LIBRARIES]
    document = json.dumps([_FORMAT, libraries, sorted(files.items())])
    return hashlib.sha256(document.encode()).hexdigest()


def _version_of(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


async def _run(arguments: Sequence[str], seconds: float) -> None:
    """Run :mod:`.prepare`; its whole group ends with it, or when nobody waits any more."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "serving.server.models.prepare",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, stderr = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        raise ServingError(
            Code.DEADLINE_EXCEEDED,
            f"The version did not answer its warm-up requests within {seconds:.0f} s.",
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    code: Any = process.returncode
    if code == -signal.SIGKILL:
        raise Interrupted("The process that tries the version was killed.")
    if code < 0:
        raise ServingError(
            Code.INTERNAL,
            "The version crashed the process that tries it before the server does "
            f"({signal.Signals(-code).name}).",
        )
    if code > 0:
        lines = stderr.decode(errors="replace").strip().splitlines()
        raise ServingError(
            Code.INTERNAL, f"The version could not be tried: {lines[-1] if lines else code}"
        )


def _prune(cache: Path) -> None:
    """Keep what was used last; another server may be doing the same."""
    try:
        entries = sorted(cache.iterdir(), key=lambda entry: entry.stat().st_mtime, reverse=True)
    except FileNotFoundError:
        return
    for entry in entries[_KEPT:]:
        shutil.rmtree(entry, ignore_errors=True)
