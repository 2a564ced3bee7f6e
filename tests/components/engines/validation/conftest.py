from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from components.engines.validation.statistics import compute_statistics

Describe = Callable[..., Any]


@pytest.fixture(scope="session")
def describe() -> Describe:
    """Compute the statistics of columns given by name."""

    def compute(**columns: object) -> Any:
        arrays = [c if isinstance(c, pa.Array) else pa.array(c) for c in columns.values()]
        return compute_statistics([pa.RecordBatch.from_arrays(arrays, list(columns))])

    return compute
