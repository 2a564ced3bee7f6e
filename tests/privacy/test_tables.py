"""Counting the rows that name somebody, whatever the columns are like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from privacy.tables import rows_naming

COLUMNS = {"learner", "pupil"}
TABLES: list[tuple[dict[str, Any], int]] = [
    ({"learner": pa.array([7, 8, None, 7], pa.int32())}, 2),
    ({"learner": pa.array(["7", "77", None])}, 1),
    ({"learner": pa.array([7.0, 8.0, None])}, 1),
    ({"learner": pa.array(["8", "7"]).dictionary_encode()}, 1),
    ({"pupil": ["7"], "learner": ["8"]}, 1),
    ({"pupil": ["7"], "learner": ["7"]}, 1),
    ({"clicks": [7, 7]}, 0),
    ({"learner": pa.array([], pa.int64())}, 0),
    (
        {
            "table": ["marks"] * 3,
            "file": ["7"] * 3,
            "line": [7, 7, 7],
            "reason": ["not a number"] * 3,
            "text": ["7,x", "70,y", '{"learner": "7"}'],
        },
        2,
    ),
]


@pytest.mark.parametrize(("columns", "count"), TABLES)
def test_rows_are_counted(tmp_path: Path, columns: dict[str, Any], count: int) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    assert rows_naming(tmp_path, COLUMNS, "7".__eq__) == count


def test_of_a_file_that_cannot_be_read_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 damaged")
    assert rows_naming(tmp_path, COLUMNS, "7".__eq__) is None
