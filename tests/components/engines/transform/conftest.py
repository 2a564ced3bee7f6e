"""Learners with numbers, text, sequences and gaps: enough rows for several batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.engines.transform import batching

ROWS = 5_000
BATCH_ROWS = 1_500
TIME = 4

REQUIRED = "shape {} presence { min_fraction: 1 }"
SEQUENCE = f"shape {{ dim {{ size: {TIME} }} }} presence {{ min_fraction: 1 }}"
SCHEMA = f"""
feature {{ name: "clicks" type: FLOAT {REQUIRED} }}
feature {{ name: "score" type: FLOAT {REQUIRED} }}
feature {{ name: "credits" type: INT {REQUIRED} }}
feature {{ name: "region" type: BYTES {REQUIRED} }}
feature {{ name: "site" type: BYTES {REQUIRED} }}
feature {{ name: "responses" type: INT {SEQUENCE} }}
feature {{ name: "skills" type: BYTES {SEQUENCE} }}
feature {{ name: "band" type: BYTES }}
feature {{ name: "failed" type: INT {REQUIRED} }}
feature {{ name: "note" type: BYTES {REQUIRED} }}
"""


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    """Let a few thousand rows make several batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "BATCH_ROWS", BATCH_ROWS)
        yield


@pytest.fixture(scope="session")
def schema() -> schema_pb2.Schema:
    """The curated schema of :func:`learners`; no test's function reads ``note``."""
    return text_format.Parse(SCHEMA, schema_pb2.Schema())


@pytest.fixture(scope="session")
def learners() -> pa.Table:
    """Raw rows; doubles where the schema says FLOAT, as Parquet files have them; no ``note``."""
    random = np.random.default_rng(20)
    regions = np.array(["North", "Wales", "Ireland", "Scotland", "two words", "ünï"])
    sites = np.array([f"site_{number}" for number in range(3_000)])
    skills = np.array([f"skill_{number}" for number in range(40)])
    responses = random.integers(0, 2, (ROWS, TIME))
    band = np.array(["0-10%", "10-20", "20-30%"])[random.integers(0, 3, ROWS)]
    sequence = pa.list_(pa.string(), TIME)
    return pa.table(
        {
            "clicks": random.gamma(2.0, 100.0, ROWS),
            "score": random.normal(70.0, 15.0, ROWS),
            "credits": random.integers(1, 9, ROWS) * 30,
            "region": regions[random.integers(0, len(regions), ROWS)],
            "site": sites[(random.pareto(1.0, ROWS) * 10).astype(int) % len(sites)],
            "responses": pa.array(responses.tolist(), pa.list_(pa.int64())),
            "skills": pa.FixedSizeListArray.from_arrays(
                pa.array(skills[random.integers(0, 40, ROWS * TIME)]), TIME
            ).cast(sequence),
            "band": pa.array(band, mask=random.random(ROWS) < 0.2),
            "failed": random.integers(0, 2, ROWS),
        }
    )
