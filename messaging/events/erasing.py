"""Removing from the collected events: a learner who is erased, or what is older than it may be.

The learner's key is destroyed first (:meth:`messaging.events.keys.LearnerKeys.destroy`). A write
that had read it by then is waited for; every later one finds it gone. So the rows that there will
ever be are in the parts when they are written anew, also beside collectors at work. Positions stay
as they are: nothing is collected again, and nothing is missed.

Messages in quarantine are no events, so any that has the learner's id, or the reference of the
learner's key, anywhere in it goes.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.erasing import (
    check_moment,
    erase_owned,
    erasing_alone,
    expire_hour,
    open_rows,
)
from learnloop.errors import UsageError
from learnloop.store.local import explain_disk_faults
from messaging.events.master_keys import load_master_keys
from messaging.events.parts import QUARANTINE, WRITING, settle_partitions

if TYPE_CHECKING:
    import pyarrow as pa

LOCK = "erasing.lock"
OWNER = "learner"


def erase_events(folder: Path, learner: str) -> int:
    """Remove a learner's rows from the parts and from quarantine; killed, it is called again.

    Args:
        folder: The folder of collected events; it need not be there.
        learner: The learner's id, as events have it. Its key must have been destroyed before: of
            events that are not sealed, those still in Kafka are collected later.

    Returns:
        How many rows were removed.

    Raises:
        UsageError: Somebody else is erasing, or the id is empty.
        LearnLoopError: A collector hangs, a part was replaced meanwhile, or the disk failed; erase
            again.
    """
    if not learner:
        raise UsageError("A learner's id is empty.", where="learner", expected="an id")
    names = _Names([learner])
    with _alone(folder):
        erased = sum(erase_owned(part, OWNER, [learner]) for part in _parts(folder))
        for part in _quarantined(folder):
            with open_rows(part) as rows:
                erased += rows.erase(["value"], names.are_in)
    return erased


def expire_events(folder: Path, before: datetime, held: Collection[str] = ()) -> int:
    """Remove the events that happened before a moment, except of learners under legal hold.

    Args:
        folder: The folder of collected events; it need not be there.
        before: The moment, with a time zone; of quarantine, messages that Kafka took before it.
        held: Ids of the learners whose events stay.

    Returns:
        How many rows were removed.

    Raises:
        UsageError: Somebody else is erasing, or the moment has no time zone.
        LearnLoopError: A collector hangs, a part was replaced meanwhile, or the disk failed; call
            it again.
    """
    check_moment(before)
    expired = 0
    with _alone(folder):
        for part in _parts(folder):
            hour = datetime.fromisoformat(part.parent.name.removeprefix("hour="))
            moment = hour.replace(tzinfo=UTC)
            expired += expire_hour(part, moment, before, time="at", owner=OWNER, held=held)
            with contextlib.suppress(OSError):  # there is still something in them
                part.parent.rmdir()
                part.parent.parent.rmdir()
        for part in _quarantined(folder):
            expired += _expire_quarantined(part, before, _Names(held))
    return expired


class _Names:
    """Finds learners in messages of any form: their ids and the references of their keys.

    Args:
        learners: Their ids.
    """

    def __init__(self, learners: Collection[str]) -> None:
        names = {learner for learner in learners if learner}
        escaped = {json.dumps(name)[1:-1] for name in names}
        references = {one.reference(name) for one in load_master_keys() for name in names}
        words = "|".join(map(re.escape, sorted({*names, *escaped, *references})))
        self._pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) if names else None

    def are_in(self, rows: pa.Table) -> pa.Array:
        """Tell, of rows of quarantine, which messages name one of the learners."""
        import pyarrow as pa

        texts = (value.decode(errors="replace") for value in rows["value"].to_pylist())
        pattern = self._pattern
        return pa.array([bool(pattern and pattern.search(text)) for text in texts], pa.bool_())


def _expire_quarantined(part: Path, before: datetime, held: _Names) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    with open_rows(part) as rows:
        limit = pa.scalar(before, rows.schema.field("recorded_at").type)
        expired = rows.erase(
            ["recorded_at", "value"],
            lambda table: pc.and_not(pc.less(table["recorded_at"], limit), held.are_in(table)),
        )
    if not parquet.read_metadata(part).num_rows:
        part.unlink()
    return expired


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/hour=*/*.parquet"))


def _quarantined(folder: Path) -> list[Path]:
    return sorted((folder / QUARANTINE).glob("*.parquet"))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only one who removes rows, all that was collected before being in its place."""
    if not folder.is_dir():
        yield
        return
    with explain_disk_faults(folder):
        (folder / WRITING).mkdir(exist_ok=True)
        with erasing_alone(folder, folder / WRITING / LOCK):
            settle_partitions(folder)
            yield
