"""The execution that the server chose, called in this process and nothing around it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.serving.models import rows
from serving.server.models.loading import load_runs
from serving.server.models.preparation import Preparation, content_key
from serving.server.models.prepare import PLAN

_SIGNATURE = "serving_default"


def kernel(version: Path, cache: Path, seconds: float) -> dict[str, Any]:
    """Measure a model without a server.

    Args:
        version: The version's folder.
        cache: What a server found out about it.
        seconds: How long to measure.

    Returns:
        The execution, processor microseconds of one row, and the answer to the first row.
    """
    converted = Preparation(cache).plan(content_key(version))
    assert converted is not None
    runs, _ = load_runs(version, {_SIGNATURE: []}, converted)
    function, asked = runs[_SIGNATURE].function, [rows(version.parent.name, 1)]
    count, began, until = 0, time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        for _ in range(100):
            function(asked)
        count += 100
    taken = time.process_time() - began
    return {
        "execution": json.loads((converted / PLAN).read_bytes())[_SIGNATURE]["execution"],
        "cpu_us": round(taken / count * 1e6, 2),
        "answer": float(function(asked)[0].ravel()[0]),
    }
