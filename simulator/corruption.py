"""Rows made malformed on purpose, each noted with its file, line, fault and original text.

Text files only: a typed Parquet column cannot hold what these faults write. A fault hits a row
with the probability ``corruption``, drawn from the row's place in the file, so that it does not
depend on how many rows are written at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simulator.draws import Draws

MISSING_COLUMN = "missing_column"
SURPLUS_COLUMN = "surplus_column"
BAD_NUMBER = "bad_number"
BAD_DATE = "bad_date"
BAD_ENCODING = "bad_encoding"
NUL_BYTE = "nul_byte"
DUPLICATED_KEY = "duplicated_key"

JUNK = {
    BAD_NUMBER: b"12x4",
    BAD_DATE: b"31/02/2014",
    BAD_ENCODING: b"caf\xe9 \xff",
    NUL_BYTE: b"a\x00b",
}
"""What a fault writes in place of a column's text."""


@dataclass(frozen=True)
class Fault:
    """One malformed line.

    Args:
        line: From 1, the header included.
        fault: What was done.
        column: The column concerned; empty where the whole line is.
        original: The text that stood there.
    """

    line: int
    fault: str
    column: str
    original: str


@dataclass(frozen=True)
class Weaknesses:
    """The columns of a file in which faults are put.

    Args:
        number: A column that must hold a number.
        date: A column that must hold a day.
        text: A column whose bytes are damaged.
    """

    number: str
    date: str | None
    text: str

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """Every (fault, column) that this file may suffer."""
        damaged = [(BAD_NUMBER, self.number), (BAD_ENCODING, self.text), (NUL_BYTE, self.text)]
        if self.date is not None:
            damaged.append((BAD_DATE, self.date))
        lines = (MISSING_COLUMN, SURPLUS_COLUMN, DUPLICATED_KEY)
        return (*damaged, *((fault, "") for fault in lines))


@dataclass(frozen=True)
class Corruptor:
    """Damages the lines of one file as they are written.

    Args:
        table: The file, relative to the simulated folder.
        weaknesses: Where it is damaged.
        seed: The seed of the simulation.
        share: Share of rows to damage.
        note: Called with the file and its next faults, in order of line.
    """

    table: str
    weaknesses: Weaknesses
    seed: int
    share: float
    note: Callable[[str, list[Fault]], None]

    def damage(
        self, columns: dict[str, pa.Array], lines: pa.Array, first_row: int, first_line: int
    ) -> pa.Array:
        """Return the lines with some of them malformed.

        Args:
            columns: The text of each column, binary [rows].
            lines: The sound lines, binary [rows].
            first_row: Rows written before these.
            first_line: The line number of the first of them.

        Returns:
            Lines, binary; more than were given where a row is repeated.
        """
        rows = np.arange(first_row, first_row + len(lines))
        draws = Draws.of(self.seed, f"corruption of {self.table}", rows)
        hit = np.flatnonzero(draws.uniform(0) < self.share)
        if not len(hit):
            return lines
        kinds = self.weaknesses.faults
        kind = (draws.rows(hit).uniform(1) * len(kinds)).astype(np.int64)
        repeated = np.array([fault == DUPLICATED_KEY for fault, _ in kinds])[kind]

        times = np.ones(len(lines), np.int64)
        times[hit[repeated]] = 2
        line_of = first_line + np.cumsum(times) - 1
        source = np.arange(len(lines))
        source[hit[~repeated]] = len(lines) + np.arange(int((~repeated).sum()))
        damaged: list[bytes] = []
        faults: list[Fault] = []
        for row, (fault, column) in zip(hit, (kinds[place] for place in kind), strict=True):
            values = {name: texts[int(row)].as_py() for name, texts in columns.items()}
            original = values[column] if column else lines[int(row)].as_py().rstrip(b"\n")
            faults.append(Fault(int(line_of[row]), fault, column, original.decode()))
            if fault != DUPLICATED_KEY:
                damaged.append(_malformed(values, fault, column))
        self.note(self.table, faults)
        pool = pa.concat_arrays([lines, pa.array(damaged, pa.binary())])
        return pool.take(pa.array(np.repeat(source, times)))


def _malformed(values: dict[str, bytes], fault: str, column: str) -> bytes:
    """Return one line with a fault in it."""
    fields = [JUNK[fault] if name == column else text for name, text in values.items()]
    if fault == MISSING_COLUMN:
        fields.pop()
    elif fault == SURPLUS_COLUMN:
        fields.append(b"surplus")
    return b'"' + b'","'.join(fields) + b'"\n'
