"""The same join by Feast's DuckDB store, run by the interpreter that FEAST_PYTHON names.

Feast knows no recorded time but for breaking ties: what was recorded after the moment asked about
comes through. Its answer is therefore another one, and easier to find.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.features.data import FEATURES, TTL_DAYS
from benchmarks.features.timing import measured

CONFIGURATION = """project: benchmark
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
offline_store: {type: duckdb}
entity_key_serialization_version: 3
"""


def main(folder: Path) -> None:
    """Join and write the answer."""
    import duckdb  # noqa: F401  # an import is no part of a join
    import ibis  # noqa: F401
    import pandas as pd
    import pyarrow.dataset  # noqa: F401
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float32, Int64

    repository = folder / "feast"
    repository.mkdir(exist_ok=True)
    (repository / "feature_store.yaml").write_text(CONFIGURATION)
    store = FeatureStore(repo_path=str(repository))
    learner = Entity(name="learner", join_keys=["learner"], value_type=ValueType.INT64)
    kinds = [Float32] * 3 + [Int64] * 2
    view = FeatureView(
        name="activity",
        entities=[learner],
        ttl=timedelta(days=TTL_DAYS),
        schema=[Field(name=name, dtype=kind) for name, kind in zip(FEATURES, kinds, strict=True)],
        source=FileSource(
            path=str(folder / "features.parquet"),
            timestamp_field="happened",
            created_timestamp_column="recorded",
        ),
    )
    store.apply([learner, view])

    def join() -> Any:
        rows = pd.read_parquet(folder / "entities.parquet")
        wanted = [f"activity:{name}" for name in FEATURES]
        return store.get_historical_features(rows, wanted).to_arrow()

    measured(folder / "feast.parquet", join)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
