"""A journal: record batches appended to one file, whole or not at all, and made into parts.

The file is an Arrow stream. It is locked by the process that writes it; a journal that nobody
locks was left behind by a process that is gone, and whoever starts next makes parts of it. A part
has its journal's name, so doing it twice gives the same part. What a power cut or a kill tore off
the end is not read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from learnloop.erasing import sync_folder
from learnloop.holding import hold_file

if TYPE_CHECKING:
    import pyarrow as pa

JOURNALS = "journals"
ENDING = ".arrows"
UNFINISHED = ".unfinished-"
RECOVERING = "recovering.lock"
LOCK_SECONDS = 60.0
"""How long to wait for whoever else makes parts of journals that were left behind."""


def model_folder(folder: Path, model: str) -> Path:
    """Where the parts of a model lie.

    Args:
        folder: The log's folder.
        model: The model's name, which need not be fit for a path.
    """
    return folder / f"model={quote(model, safe='')}"


class Journal:
    """One file of batches of one schema, open for appending.

    Args:
        folder: The log's folder.
        schema: Of its batches.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self.began = time.monotonic()
        self._folder = folder
        journals = folder / JOURNALS
        journals.mkdir(parents=True, exist_ok=True)
        while True:
            name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:12]}"
            self.path = journals / f"{name}{ENDING}"
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
            if _lock(self._file, self.path):
                break
            os.close(self._file)  # another process took it for one that was left behind
        self._size = 0
        try:
            self._append(schema.serialize())
        except OSError:
            self._discard()
            raise

    def append(self, batch: pa.RecordBatch) -> None:
        """Append a batch; when it returns, neither a kill nor a power cut loses it.

        Args:
            batch: Of the journal's schema.

        Raises:
            OSError: It was not appended, and the journal is as it was before.
        """
        self._append(batch.serialize())
        self.rows += batch.num_rows

    def finish(self) -> int:
        """Make parts of it, then remove it.

        Returns:
            The number of parts.

        Raises:
            OSError: The disk failed; the journal stays, and this may be called again.
        """
        parts = make_parts(self.path, self._folder)
        self._discard()
        return parts

    def close(self) -> None:
        """Leave it for whoever starts next."""
        os.close(self._file)

    def _append(self, message: pa.Buffer) -> None:
        left = memoryview(message)
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fdatasync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(message)

    def _discard(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._file)


class Orphan:
    """A journal whose process is gone, locked for making parts of it.

    Args:
        path: The journal.
        folder: The log's folder.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self._folder = folder
        self._file = -1

    def __enter__(self) -> Self | None:
        try:
            self._file = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        return self if _lock(self._file, self.path) else None

    def __exit__(self, *fault: object) -> None:
        if self._file >= 0:
            os.close(self._file)

    def finish(self) -> int:
        """Make parts of it, then remove it."""
        parts = make_parts(self.path, self._folder)
        self.path.unlink()
        return parts


def recover(folder: Path) -> int:
    """Make parts of the journals that nobody writes any more, one process after the other.

    Args:
        folder: The log's folder.

    Returns:
        The number of parts. No journal of a process that was gone before is left.

    Raises:
        OSError: The disk failed; what is left may be recovered later.
    """
    if not (folder / JOURNALS).is_dir():
        return 0
    parts = 0
    with hold_file(folder / RECOVERING, LOCK_SECONDS) as is_held:
        if not is_held:
            raise TimeoutError(errno.ETIMEDOUT, "another process makes parts of journals")
        for path in sorted((folder / JOURNALS).glob(f"*{ENDING}")):
            with Orphan(path, folder) as orphan:
                if orphan is not None:
                    parts += orphan.finish()
    return parts


def make_parts(journal: Path, folder: Path) -> int:
    """Write the parts of a journal: one for each hour in it.

    Args:
        journal: The journal's file.
        folder: The log's folder.

    Returns:
        The number of parts.
    """
    import pyarrow as pa
    import pyarrow.compute as compute

    batches = list(read_journal(journal))
    if not batches:
        return 0
    table = pa.Table.from_batches(batches)
    hours = compute.strftime(table["time"], "date=%Y-%m-%d/hour=%H")
    model = model_folder(folder, table["model"][0].as_py())
    found = compute.unique(hours).to_pylist()
    for hour in found:
        rows = table.filter(compute.equal(hours, hour)) if len(found) > 1 else table
        _write_part(rows, model / hour / f"{journal.stem}.parquet")
    return len(found)


def read_journal(journal: Path) -> Iterator[pa.RecordBatch]:
    """Read the whole batches of a journal.

    Args:
        journal: The journal's file, perhaps torn at its end.
    """
    import pyarrow as pa

    with pa.OSFile(str(journal)) as file:
        try:
            stream = pa.ipc.open_stream(file)
        except (pa.ArrowInvalid, OSError):
            return
        while True:
            try:
                yield stream.read_next_batch()
            except (StopIteration, pa.ArrowInvalid, OSError):
                return


def _write_part(rows: pa.Table, part: Path) -> None:
    import pyarrow.parquet as parquet

    part.parent.mkdir(parents=True, exist_ok=True)
    unfinished = part.with_name(UNFINISHED + part.name)
    try:
        parquet.write_table(rows, unfinished, compression="zstd")
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.rename(part)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(part.parent)


def _lock(file: int, path: Path) -> bool:
    """Lock a file, if it is free and still the one of this name."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.stat().st_ino == os.fstat(file).st_ino
    except OSError:
        return False
