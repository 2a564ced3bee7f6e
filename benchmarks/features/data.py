"""The benchmark's learners: a log of five features that is told in order and in part late.

python -m benchmarks.features.data FOLDER ROWS
"""

from __future__ import annotations

import sys
from pathlib import Path

ENTITY_ROWS = 200_000
ROWS_PER_LEARNER = 100
FEATURES = ("f0", "f1", "f2", "f3", "f4")
GROUP_ROWS, CHUNK_ROWS = 250_000, 1_000_000
TTL_DAYS = 30
DAY = 86_400_000_000
START = 1_735_689_600_000_000
"""2025-01-01 in microseconds."""


def write_features(path: Path, rows: int) -> None:
    """Write the log over a year, the same for the same length, in bounded memory.

    Three in ten rows are recorded late, by two days on average, and one value in fifty is null.

    Args:
        path: The Parquet file.
        rows: How many rows.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    moment = pa.timestamp("us", "UTC")
    writer = None
    for start in range(0, rows, CHUNK_ROWS):
        count = min(CHUNK_ROWS, rows - start)
        random = np.random.default_rng([1, start])
        happened = random.random(count) * (365 * DAY * count / rows) + 365 * DAY * start / rows
        happened = START + (np.sort(happened) // 1_000_000 * 1_000_000).astype(np.int64)
        late = random.exponential(2 * DAY, count) * (random.random(count) < 0.3)
        numbers = {name: random.normal(size=count).astype(np.float32) for name in FEATURES[:3]}
        counts = {name: random.integers(0, 1000, count) for name in FEATURES[3:]}
        table = pa.table(
            {
                "learner": random.integers(0, rows // ROWS_PER_LEARNER, count),
                "happened": pa.array(happened, moment),
                "recorded": pa.array(happened + late.astype(np.int64), moment),
                **{
                    name: pa.array(values, mask=random.random(count) < 0.02)
                    for name, values in {**numbers, **counts}.items()
                },
            }
        )
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=GROUP_ROWS)
    assert writer is not None
    writer.close()


def write_entities(path: Path, learners: int) -> None:
    """Write entity rows: learners and moments of the year, in no order.

    Args:
        path: The Parquet file.
        learners: How many learners there are to choose from.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(2)
    asked = START + random.integers(0, 365 * 86_400, ENTITY_ROWS) * 1_000_000
    learner = random.integers(0, learners, ENTITY_ROWS)
    moments = pa.array(asked, pa.timestamp("us", "UTC"))
    parquet.write_table(pa.table({"learner": learner, "event_timestamp": moments}), path)


if __name__ == "__main__":
    folder, rows = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    write_features(folder / "features.parquet", rows)
    write_entities(folder / "entities.parquet", rows // ROWS_PER_LEARNER)
