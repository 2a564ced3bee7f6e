"""On-demand functions, in a module that imports no more than an author's does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

Columns = Mapping[str, Any]


def as_array(columns: Columns) -> Columns:
    return {"made": columns["clicks"]}


def as_chunks(columns: Columns) -> Columns:
    clicks = columns["clicks"]
    return {"made": pa.chunked_array([clicks.slice(0, 1), clicks.slice(1)])}


def as_narrower_array(columns: Columns) -> Columns:
    return {"made": columns["clicks"].cast(pa.int32())}


def as_numpy(columns: Columns) -> Columns:
    return {"made": np.asarray(columns["clicks"].fill_null(7))}
