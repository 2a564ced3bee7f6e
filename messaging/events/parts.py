"""The folder of collected events: parts by kind and hour, and a position that moves with them.

Under ``_writing/<topic>-<partition>`` new parts are staged; then ``progress.json`` there is
replaced by one that names them, the next offset and the last sequence of each source: that rename
is the moment at which the events are collected. Then the parts are moved to where readers look. A
kill before it leaves staged files that nobody counts; a kill after it leaves moves that the next
claim finishes. Names that begin with ``_`` are no data to any Parquet reader.

While staged files are written and moved, ``writing.lock`` there is held, so that whoever erases
rows can tell that what was begun before is where readers look.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from learnloop.erasing import sync_folder
from learnloop.errors import LearnLoopError
from learnloop.holding import hold, hold_file
from learnloop.store.local import explain_disk_faults

WRITING = "_writing"
QUARANTINE = "_quarantine"
PROGRESS = "progress.json"
LOCK = "writing.lock"
LOCK_SECONDS = 60.0
"""How long to wait for whoever writes parts of a partition, or erases rows from them."""

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far a partition is collected.

    Args:
        next_offset: The first offset that is not collected; None before the first.
        sequences: The last sequence collected, by source.
    """

    next_offset: int | None = None
    sequences: Mapping[str, int] = field(default_factory=dict)


class PartitionParts:
    """The parts of one partition; :func:`claim_partition` gives the right to write them.

    What a killed writer left is mended first.

    Args:
        folder: The folder of all events.
        name: ``<topic>-<partition>``.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self._writing = folder / WRITING / name
        with self.writing():
            self.progress = self._recover()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold back who erases rows: from the reading of keys until :meth:`write` returns.

        Raises:
            LearnLoopError: Somebody else holds the partition all the time.
        """
        lock = self._writing / LOCK
        with explain_disk_faults(self._writing), hold_file(lock, LOCK_SECONDS) as is_held:
            if not is_held:
                raise LearnLoopError(
                    f"The parts of a partition have been held for {LOCK_SECONDS:.0f} s.",
                    where=self._writing,
                    next="see whether a collector hangs, then do the same again",
                )
            yield

    def write(self, parts: Mapping[str, pa.Table], progress: Progress) -> None:
        """Collect events: all of the parts and the position, or nothing.

        Args:
            parts: Rows by folder, for example ``attempt/hour=2026-11-23T10``.
            progress: The position behind them.

        Raises:
            LearnLoopError: The disk failed; the position has not moved.
        """
        span = f"{self.progress.next_offset or 0:020d}-{progress.next_offset:020d}"
        moves = {}
        with explain_disk_faults(self._writing):
            for number, (part, table) in enumerate(sorted(parts.items())):
                staged = f"{span}-{number:04d}.parquet"
                _write_durably(self._writing / staged, table)
                moves[staged] = f"{part}/{self.name}-{span}.parquet"
            document = {
                "format": FORMAT,
                "next_offset": progress.next_offset,
                "sequences": dict(progress.sequences),
                "moves": moves,
            }
            self._replace_progress(json.dumps(document, indent=1))
            self.progress = progress
            self._move(moves)

    def _recover(self) -> Progress:
        """Finish what a killed writer had decided, and drop what it had not."""
        path = self._writing / PROGRESS
        if path.exists():
            try:
                document = json.loads(path.read_bytes())
                progress = Progress(document["next_offset"], document["sequences"])
                moves = document["moves"]
            except (ValueError, KeyError) as fault:
                raise LearnLoopError(
                    "The position of the collected events cannot be read.",
                    where=path,
                    expected=f"JSON of format {FORMAT}, as the collector wrote it",
                    received=repr(fault),
                    next="restore the file from a backup of the events folder",
                ) from None
            self._move(moves)
        else:
            progress = Progress()
        for left in self._writing.glob("*.parquet"):
            left.unlink()
        return progress

    def _replace_progress(self, text: str) -> None:
        new = self._writing / (PROGRESS + ".new")
        with new.open("w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(self._writing / PROGRESS)
        sync_folder(self._writing)

    def _move(self, moves: Mapping[str, str]) -> None:
        for staged, final in moves.items():
            source, target = self._writing / staged, self.folder / final
            while source.exists():
                with contextlib.suppress(FileNotFoundError):  # an hour that has just expired
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source.rename(target)
                    sync_folder(target.parent)


@contextlib.contextmanager
def claim_partition(folder: Path, topic: str, partition: int) -> Iterator[PartitionParts | None]:
    """Claim a partition of a folder, so that only this process writes its parts.

    Args:
        folder: The folder of all events.
        topic: The topic.
        partition: Its partition.

    Yields:
        The claim, what a killed writer left being mended; None if another process has it.
    """
    name = f"{topic}-{partition}"
    with hold(folder / WRITING / name) as is_held:
        yield PartitionParts(folder, name) if is_held else None


def settle_partitions(folder: Path) -> None:
    """Wait for the writes that have begun, and finish or forget those that a kill cut off.

    All that was collected before is then where readers look, also beside collectors at work.

    Args:
        folder: The folder of all events.

    Raises:
        LearnLoopError: A collector hangs, or a position cannot be read.
    """
    for writing in sorted(path for path in (folder / WRITING).glob("*") if path.is_dir()):
        PartitionParts(folder, writing.name)


def _write_durably(path: Path, table: pa.Table) -> None:
    with path.open("wb") as stream:
        parquet.write_table(table, stream, compression="zstd")
        stream.flush()
        os.fsync(stream.fileno())
