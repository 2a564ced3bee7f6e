"""The log itself: a bounded queue that the server fills, and the thread that empties it.

The server never waits for the log. A queue that is full (a disk that is full or slow) drops the
newest predictions and counts them; once the disk has room again the thread goes on by itself.

At most ``flush_seconds`` and the time of one append lie between an answer and its place on disk:
that much a kill or a power cut loses, and no more.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from feature_store.pseudonyms import PseudonymKey
from learnloop.errors import UsageError
from serving.prediction_log.columns import Layout, Note
from serving.prediction_log.journal import Journal, recover
from serving.prediction_log.turns import Turn
from serving.server.contract import Tensors

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

NOTES_AT_ONCE = 4_096
"""So many notes are laid out before the thread lets the event loop go on."""

PAUSE_SECONDS = 5.0
"""How long no parts are made after the disk refused; appending is tried again at every flush."""


@dataclass(frozen=True)
class LogSettings:
    """How much is logged, where, and how soon.

    Args:
        folder: Where the parts lie.
        key: Keys the digests of features. Without one a key is drawn, and equal rows can be told
            only within one process.
        features: ``raw``, or ``digest`` to keep no features of anybody.
        share: The share of requests that is logged, above 0 to 1.
        flush_seconds: How often what came in is appended to the journal: the most that is lost.
        part_seconds: How old a journal grows before it becomes a part.
        part_rows: How large a journal grows before it becomes a part.
        most_waiting: Requests that wait at most; more are dropped and counted.
        most_bytes: Bytes of features that wait at most.

    Raises:
        UsageError: A number is out of range.
    """

    folder: Path
    key: PseudonymKey | None = None
    features: Literal["raw", "digest"] = "raw"
    share: float = 1.0
    flush_seconds: float = 0.25
    part_seconds: float = 60.0
    part_rows: int = 500_000
    most_waiting: int = 50_000
    most_bytes: int = 128 * 2**20

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(
                "The share of requests that is logged is out of range.",
                where="the prediction log",
                expected="above 0, at most 1",
                received=self.share,
            )


@dataclass(frozen=True)
class LogCounts:
    """What became of the predictions, in rows.

    Args:
        logged: Rows that are safe on disk.
        dropped: Rows that were not logged: the queue was full, or they could not be laid out.
        waiting: Requests that are not on disk yet.
        faults: How often the disk refused.
        parts: Parquet parts made.
        unfit_subjects: Rows whose subject was no pseudonym and was not written down.
    """

    logged: int
    dropped: int
    waiting: int
    faults: int
    parts: int
    unfit_subjects: int

    def totals(self) -> dict[str, int]:
        """What only ever grows, for metrics."""
        counts = asdict(self)
        del counts["waiting"]
        return counts


class PredictionLog:
    """Takes note of answers; an :class:`serving.server.contract.Observer`.

    Args:
        settings: How much is logged, where, and how soon.
        draw: Gives numbers evenly from 0 to 1, for the sample.

    Example:
        ::

            with PredictionLog(LogSettings(Path("predictions"))) as log:
                serve(models, observer=log)
    """

    def __init__(self, settings: LogSettings, draw: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._draw = draw
        self._layout = Layout(
            settings.key or PseudonymKey("drawn", secrets.token_bytes(32)),
            settings.share,
            keeps_features=settings.features == "raw",
        )
        self._notes: deque[Note] = deque()
        self._waiting_bytes = 0
        self._written_bytes = 0
        self._laid_out: deque[tuple[str, pa.RecordBatch]] = deque()
        self._journals: dict[tuple[str, str], Journal] = {}
        self._finishing: list[Journal] = []
        self._logged = self._dropped = self._faults = self._parts = 0
        self._unfit_notes = 0
        self._is_recovered = self._is_failing = False
        self._no_parts_before = 0.0
        self._turn: Turn | None = None
        self._guarded(self._take_turn)  # before anything is told
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)
        self._thread.start()

    def __call__(
        self,
        *,
        model: str,
        version: int,
        label: str | None,
        signature: str,
        inputs: Tensors,
        outputs: Tensors,
        metadata: Mapping[str, str],
        seconds: float,
    ) -> None:
        """Take note of one answered request; see :class:`serving.server.contract.Observer`."""
        settings = self._settings
        if settings.share < 1 and self._draw() >= settings.share:
            return
        note = Note(
            time.time(), model, version, label, signature, inputs, outputs, metadata, seconds
        )
        waiting_bytes = self._waiting_bytes - self._written_bytes
        if len(self._notes) >= settings.most_waiting or waiting_bytes > settings.most_bytes:
            self._dropped += note.rows
            return
        for array in inputs.values():
            self._waiting_bytes += array.nbytes
        self._notes.append(note)

    def __enter__(self) -> PredictionLog:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    @property
    def counts(self) -> LogCounts:
        """What became of the predictions so far."""
        return LogCounts(
            self._logged,
            self._dropped + self._unfit_notes,
            len(self._notes) + len(self._laid_out),
            self._faults,
            self._parts,
            self._layout.unfit_subjects,
        )

    def close(self) -> None:
        """Write all that waits, make parts of it, and end; call it when no answer comes any more.

        A disk that refuses is not waited for: journals stay for the next start.
        """
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._settings.flush_seconds):
            self._guarded(self._append_all)
            if time.monotonic() >= self._no_parts_before:
                is_turn_over = self._turn is None or self._turn.is_over
                self._guarded(self._end_turn if is_turn_over else self._make_parts)
        self._guarded(self._append_all)
        self._guarded(self._make_parts)
        for journal in (*self._journals.values(), *self._finishing):
            journal.close()
        if self._turn is not None:
            self._turn.close()

    def _take_turn(self) -> None:
        new = Turn(self._settings.folder)
        if self._turn is not None:
            self._turn.close()
        self._turn = new

    def _end_turn(self) -> None:
        """Make parts of all that was told, for whoever erases, and only then say so."""
        self._append_all()  # what was told just before the turn was over
        self._make_parts()
        self._take_turn()

    def _guarded(self, step: Callable[[], None]) -> None:
        """Do a step; what the disk refuses is done later."""
        try:
            step()
        except OSError as fault:
            self._faults += 1
            self._no_parts_before = time.monotonic() + PAUSE_SECONDS
            if not self._is_failing:
                logger.warning("The prediction log waits for its disk: %s", fault.strerror)
            self._is_failing = True
        except Exception:  # a fault of ours must not end the log
            self._faults += 1
            self._no_parts_before = time.monotonic() + PAUSE_SECONDS
            logger.exception("The prediction log failed and goes on")
        else:
            self._is_failing = False

    def _append_all(self) -> None:
        while self._notes or self._laid_out:
            self._lay_out()
            self._append()

    def _lay_out(self) -> None:
        """Turn notes into batches, unless some are still waiting for the disk."""
        if self._laid_out:
            return
        taken = [self._notes.popleft() for _ in range(min(len(self._notes), NOTES_AT_ONCE))]
        groups: dict[object, list[Note]] = {}
        for note in taken:
            groups.setdefault(note.kind, []).append(note)
        for notes in groups.values():
            try:
                self._laid_out.append((notes[0].model, self._layout.batch(notes)))
            except Exception:  # arrays that no model of ours has
                self._unfit_notes += sum(note.rows for note in notes)
                logger.exception("Answers of %s could not be logged", notes[0].model)
        self._written_bytes += sum(array.nbytes for note in taken for array in note.inputs.values())

    def _append(self) -> None:
        while self._laid_out:
            model, batch = self._laid_out[0]
            place = (model, batch.schema.to_string())
            if place not in self._journals:
                self._journals[place] = Journal(self._settings.folder, batch.schema)
            self._journals[place].append(batch)
            self._laid_out.popleft()
            self._logged += batch.num_rows

    def _make_parts(self) -> None:
        if not self._is_recovered:
            self._parts += recover(self._settings.folder)
            self._is_recovered = True
        for place, journal in list(self._journals.items()):
            if self._is_due(journal):
                self._finishing.append(self._journals.pop(place))
        while self._finishing:
            self._parts += self._finishing[0].finish()
            self._finishing.pop(0)

    def _is_due(self, journal: Journal) -> bool:
        age = time.monotonic() - journal.began
        is_full = journal.rows >= self._settings.part_rows
        is_last = self._stop.is_set() or self._turn is None or self._turn.is_over
        return is_full or is_last or age >= self._settings.part_seconds
