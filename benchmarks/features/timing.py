"""What each contender does around its join: time it and write the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def measured(answer: Path, join: Callable[[], Any]) -> None:
    """Time a join, reading included, imports and writing the answer left out.

    Args:
        answer: Where the answer goes, with the times beside it as JSON.
        join: Makes an Arrow table.
    """
    wall, processor = time.perf_counter(), time.process_time()
    table = join()
    took = {
        "join_wall_seconds": time.perf_counter() - wall,
        "join_cpu_seconds": time.process_time() - processor,
    }
    from pyarrow import parquet

    parquet.write_table(table, answer)
    answer.with_suffix(".json").write_text(json.dumps(took))
