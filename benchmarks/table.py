"""The benchmark's table: ten numbers, two categories, a learner and a label, of any length."""

from __future__ import annotations

import sys
from pathlib import Path

CHUNK_ROWS = 500_000


def write_table(path: Path, rows: int) -> None:
    """Write the table as CSV, the same for the same length, in bounded memory.

    Args:
        path: The CSV file.
        rows: How many rows.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as csv

    weights = np.random.default_rng(1).normal(size=10) * 0.6
    first = np.array([f"a{i}" for i in range(10)])
    second = np.array([f"b{i}" for i in range(5)])
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    writer = None
    for start in range(0, rows, CHUNK_ROWS):
        count = min(CHUNK_ROWS, rows - start)
        random = np.random.default_rng([2, start])
        numbers = random.normal(size=(count, 10)).round(4)
        a, b = random.integers(0, 10, count), random.integers(0, 5, count)
        logit = numbers @ weights + 0.3 * (a - 4.5) - 0.5 * (b - 2)
        label = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(np.int64)
        table = pa.table(
            {
                "learner": np.arange(start, start + count) // 3,
                **{f"x{i}": numbers[:, i] for i in range(10)},
                "a": first[a],
                "b": second[b],
                "y": label,
            }
        )
        if writer is None:
            writer = csv.CSVWriter(unfinished, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    unfinished.rename(path)


if __name__ == "__main__":
    write_table(Path(sys.argv[1]), int(sys.argv[2]))
