"""The receipt of an erasure: what was removed, place by place, without the person."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feature_store.erasure import Erased
from learnloop.store.local import explain_disk_faults

FORMAT = 2


@dataclass(frozen=True)
class Retraining:
    """What was done so that a model is trained without the person.

    Args:
        pipeline: The pipeline.
        message_id: The request that was sent; "" where no broker is named.
        command: What to type where none was sent; "" otherwise.
    """

    pipeline: str
    message_id: str = ""
    command: str = ""


@dataclass(frozen=True)
class Receipt:
    """What was removed, without the person.

    Args:
        erasure: The journal's id of the erasure: one for a person, however often it is run.
        at: When the last row was removed.
        reason: Why, as it was given.
        places: What was removed where, by the run of the command that wrote this.
        models: Versions that were trained with the person, as ``name version``.
        retraining: What was done to train without them.
        left: What was not reached, and what to do about it.
        file: Where this is written down.
    """

    erasure: str
    at: datetime
    reason: str
    places: tuple[Erased, ...]
    models: tuple[str, ...]
    retraining: tuple[Retraining, ...]
    left: tuple[str, ...]
    file: Path

    def to_json(self) -> dict[str, Any]:
        """The receipt as it is kept."""
        return {
            "format": FORMAT,
            "erasure": self.erasure,
            "at": self.at.isoformat(timespec="seconds"),
            "reason": self.reason,
            "places": [{"place": one.place, "rows": one.rows} for one in self.places],
            "models": list(self.models),
            "retraining": [asdict(one) for one in self.retraining],
            "left": list(self.left),
        }


def receipt_file(folder: Path) -> Path:
    """Name a new receipt.

    Args:
        folder: Where receipts are.
    """
    return folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}.json"


def write_receipt(receipt: Receipt) -> None:
    """Write a receipt to the disk itself, all of it or nothing.

    Args:
        receipt: Names its file.
    """
    unfinished = receipt.file.with_suffix(".part")
    with explain_disk_faults(receipt.file):
        with unfinished.open("w", encoding="utf-8") as handle:
            json.dump(receipt.to_json(), handle, indent=1)
            handle.flush()
            os.fsync(handle.fileno())
        unfinished.replace(receipt.file)
