"""The attempts as three-line knowledge-tracing files, and as a table of events.

Three lines per learner: the number of attempts, the skills (ids from 1), the responses (0 or 1),
in order of time. Learners are dealt to train and test, and train to train1 and valid1; no learner
is in two parts.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.cohort import Cohort
from simulator.corruption import BAD_ENCODING, BAD_NUMBER, JUNK, NUL_BYTE, Fault
from simulator.draws import Draws, Integers
from simulator.faults import FaultLog
from simulator.files import ParquetFile, content
from simulator.population import FIRST_ID
from simulator.settings import SimulationSettings

PARTS = {
    "train": (0, 1),
    "train1": (0,),
    "valid1": (1,),
    "test": (2,),
}
"""The files, and which parts of the learners each holds."""

WRONG_LENGTH = "wrong_length"
BAD_RESPONSE = "bad_response"
MISSING_SKILL = "missing_skill"
SEQUENCE_FAULTS = (
    WRONG_LENGTH,
    BAD_NUMBER,
    MISSING_SKILL,
    BAD_RESPONSE,
    BAD_ENCODING,
    NUL_BYTE,
)

LEAKING_COLUMN = "solution_shown"
"""The column that ``leak`` adds to the events: a solution follows a wrong answer."""

_EVENT_FIELDS = [
    ("attempt_id", pa.int64()),
    ("learner", pa.int32()),
    ("skill", pa.int32()),
    ("item", pa.int32()),
    ("correct", pa.int8()),
    ("event_time", pa.timestamp("us", tz="UTC")),
]


class TracingLayout:
    """Writes cohorts into ``kt/simulated_*.csv`` and ``attempts/part-*.parquet``.

    Args:
        folder: The simulated folder; the two folders are made in it.
        settings: The simulation.
        faults: Records the malformed lines.
        stack: Closes the files.
    """

    def __init__(
        self, folder: Path, settings: SimulationSettings, faults: FaultLog, stack: ExitStack
    ) -> None:
        self._settings = settings
        self._faults = faults
        (folder / "kt").mkdir()
        self._files = {
            name: stack.enter_context((folder / "kt" / f"simulated_{name}.csv").open("wb"))
            for name in PARTS
        }
        self._lines = dict.fromkeys(PARTS, 0)
        leaking = [(LEAKING_COLUMN, pa.int8())] if settings.leak else []
        self._schema = pa.schema(_EVENT_FIELDS + leaking)
        self.events = stack.enter_context(ParquetFile(folder / "attempts", self._schema))

    def write(self, cohort: Cohort) -> None:
        """Append the attempts of a cohort."""
        sequences = self._sequences(cohort)
        practised = cohort.span.lengths > 0
        for name, parts in PARTS.items():
            chosen = np.flatnonzero(np.isin(cohort.learners.part, parts) & practised)
            written = sequences.take(pa.array(chosen))
            written = self._damage(name, cohort.learners.number[chosen], written)
            self._files[name].write(content(written))
            self._lines[name] += 3 * len(chosen)
        self._write_events(cohort)

    def _sequences(self, cohort: Cohort) -> pa.Array:
        """Return the three lines of every learner, as bytes."""
        attempts, lengths = cohort.attempts, cohort.span.lengths
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        ids = pa.array([str(skill + 1) for skill in range(self._settings.skills)])
        skills = pa.ListArray.from_arrays(offsets, ids.take(pa.array(attempts.skill)))
        answers = pa.array(["0", "1"]).take(pa.array(attempts.correct.astype(np.int8)))
        responses = pa.ListArray.from_arrays(offsets, answers)
        return pc.binary_join_element_wise(
            pa.array(lengths).cast(pa.string()),
            pc.binary_join(skills, ","),
            pc.binary_join(responses, ","),
            "",
            "\n",
        ).cast(pa.binary())

    def _damage(self, name: str, learners: Integers, sequences: pa.Array) -> pa.Array:
        """Make one of the three lines of some sequences malformed."""
        if not self._settings.corruption:
            return sequences
        draws = Draws.of(self._settings.seed, "corruption of sequences", learners)
        hit = np.flatnonzero(draws.uniform(0) < self._settings.corruption)
        if not len(hit):
            return sequences
        kinds = (draws.rows(hit).uniform(1) * len(SEQUENCE_FAULTS)).astype(np.int64)
        source = np.arange(len(sequences))
        source[hit] = len(sequences) + np.arange(len(hit))
        damaged: list[bytes] = []
        faults: list[Fault] = []
        for row, kind in zip(hit, kinds, strict=True):
            lines = sequences[int(row)].as_py().split(b"\n")
            fault = SEQUENCE_FAULTS[kind]
            place, malformed = _malformed(lines, fault)
            line = self._lines[name] + 3 * int(row) + place + 1
            faults.append(Fault(line, fault, "", lines[place].decode()))
            lines[place] = malformed
            damaged.append(b"\n".join(lines))
        self._faults.note(f"kt/simulated_{name}.csv", faults)
        return pa.concat_arrays([sequences, pa.array(damaged, pa.binary())]).take(pa.array(source))

    def _write_events(self, cohort: Cohort) -> None:
        attempts = cohort.attempts
        student = FIRST_ID + cohort.learners.number[attempts.learner]
        moment = pa.array(attempts.second * 1_000_000).cast(pa.timestamp("us", tz="UTC"))
        leaking = [~attempts.correct] if self._settings.leak else []
        columns = [
            pa.array(attempts.number),
            pa.array(student.astype(np.int32)),
            pa.array((attempts.skill + 1).astype(np.int32)),
            pa.array((attempts.item + 1).astype(np.int32)),
            pa.array(attempts.correct.astype(np.int8)),
            moment,
            *(pa.array(column.astype(np.int8)) for column in leaking),
        ]
        self.events.write(pa.table(columns, schema=self._schema))


def _malformed(lines: list[bytes], fault: str) -> tuple[int, bytes]:
    """Return which of the three lines is damaged, and what it becomes."""
    if fault == WRONG_LENGTH:
        return 0, str(int(lines[0]) + 1).encode()
    if fault == BAD_NUMBER:
        return 0, JUNK[BAD_NUMBER]
    if fault == BAD_RESPONSE:
        return 2, b",".join([b"2", *lines[2].split(b",")[1:]])
    return 1, b",".join([JUNK.get(fault, b""), *lines[1].split(b",")[1:]])
