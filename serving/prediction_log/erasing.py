"""Removing from the prediction log: a learner's rows, or what is older than it may be.

Servers go on answering meanwhile. What they answered before is in parts first (see
:mod:`serving.prediction_log.turns`), so a learner of whom nobody asks any more is in no file when
:func:`erase_predictions` returns. A row says whose it is by its subject alone: answers that were
asked without one belong to nobody, and stay until they are too old.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

from learnloop.erasing import check_moment, erase_owned, erasing_alone, expire_hour
from learnloop.store.local import explain_disk_faults
from serving.prediction_log.journal import recover
from serving.prediction_log.reader import hour_of
from serving.prediction_log.turns import begin_turn

LOCK = "erasing.lock"
OWNER = "subject"


def erase_predictions(folder: Path, pseudonyms: Collection[str]) -> int:
    """Remove the rows of a learner; killed, it is called again.

    Args:
        folder: The log's folder; it need not be there.
        pseudonyms: All the learner's pseudonyms, as
            :meth:`feature_store.pseudonyms.Keyring.every_pseudonym` gives them.

    Returns:
        How many rows were removed.

    Raises:
        UsageError: Somebody else is erasing.
        LearnLoopError: A server does not write down its answers, a part was replaced meanwhile, or
            the disk failed; erase again.
    """
    with _alone(folder) as parts:
        return sum(erase_owned(part, OWNER, pseudonyms) for part in parts)


def expire_predictions(
    folder: Path, before: datetime, held_pseudonyms: Collection[str] = ()
) -> int:
    """Remove the rows of before a moment, except of learners under legal hold.

    Args:
        folder: The log's folder; it need not be there.
        before: The moment, with a time zone.
        held_pseudonyms: All pseudonyms of the learners whose rows stay.

    Returns:
        How many rows were removed.

    Raises:
        UsageError: Somebody else is erasing, or the moment has no time zone.
        LearnLoopError: A server does not write down its answers, a part was replaced meanwhile, or
            the disk failed; call it again.
    """
    check_moment(before)
    expired = 0
    with _alone(folder) as parts:
        for part in parts:
            hour = hour_of(part.parent)
            expired += expire_hour(
                part, hour, before, time="time", owner=OWNER, held=held_pseudonyms
            )
            with contextlib.suppress(OSError):  # there is still something in them
                for emptied in (part.parent, part.parent.parent, part.parent.parent.parent):
                    emptied.rmdir()
    return expired


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[list[Path]]:
    """Be the only one who removes rows; all answers of before are in the parts that are given."""
    if not folder.is_dir():
        yield []
        return
    with explain_disk_faults(folder), erasing_alone(folder, folder / LOCK):
        begin_turn(folder)
        recover(folder)
        yield sorted(folder.glob("model=*/date=*/hour=*/[!.]*.parquet"))
