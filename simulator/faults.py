"""The record of the faults put into the data: one CSV file per damaged file, in order of line.

It is written as the faults are made, so that a simulation of any size holds none of it.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from simulator.corruption import Fault
from simulator.files import CsvFile

FAULT_COLUMNS = ("table", "line", "fault", "column", "original")


class FaultLog:
    """Writes ``truth/faults/NAME.csv`` for every damaged file ``NAME.csv``.

    Args:
        folder: Where the files go; it is made, and stays empty while nothing is damaged.
        stack: Closes the files.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._stack = stack
        self._files: dict[str, CsvFile] = {}

    @property
    def rows(self) -> int:
        """Malformed lines so far."""
        return sum(file.rows for file in self._files.values())

    def note(self, table: str, faults: list[Fault]) -> None:
        """Append faults of one file, given in order of line."""
        if table not in self._files:
            path = self._folder / Path(table).name
            self._files[table] = self._stack.enter_context(CsvFile(path, FAULT_COLUMNS))
        self._files[table].write(
            pa.array([table] * len(faults), pa.string()),
            np.array([fault.line for fault in faults], np.int64),
            pa.array([fault.fault for fault in faults], pa.string()),
            pa.array([fault.column for fault in faults], pa.string()),
            pa.array([fault.original.replace('"', '""') for fault in faults], pa.string()),
        )
