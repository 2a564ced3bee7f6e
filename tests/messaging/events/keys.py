"""Learners' keys for tests."""

from __future__ import annotations

from pathlib import Path

from messaging.events.keys import FILE, LearnerKeys
from messaging.events.master_keys import MasterKey

MASTER = MasterKey(b"m" * 32)
OLD_MASTER = MasterKey(b"o" * 32)


def open_keys(folder: Path, *masters: MasterKey) -> LearnerKeys:
    """Open the keys in a folder, as a process of its own would."""
    return LearnerKeys(f"sqlite:///{folder / FILE}", masters or (MASTER,))


def holding(folder: Path, *secrets: bytes) -> list[Path]:
    """The files under a folder whose bytes or names have any of the secrets."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [
        path
        for path in files
        if any(secret in path.read_bytes() + str(path).encode() for secret in secrets)
    ]
