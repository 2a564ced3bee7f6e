"""The join by LearnLoop: ``python -m benchmarks.features.by_learnloop FOLDER``."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from benchmarks.features.data import FEATURES, TTL_DAYS
from benchmarks.features.timing import measured


def main(folder: Path) -> None:
    """Join and write the answer."""
    import pandas  # noqa: F401  # pyarrow brings it in; an import is no part of a join

    from feature_store.definitions import FeatureView
    from feature_store.fields import Entity, FeatureType, Field
    from feature_store.gathering import gather
    from feature_store.offline import history  # noqa: F401  # an import is no part of a join
    from feature_store.sources import ParquetSource
    from feature_store.store import FeatureStore
    from learnloop.settings import Settings

    kinds = [FeatureType.FLOAT32] * 3 + [FeatureType.INT64] * 2
    view = FeatureView(
        "activity",
        entities=(Entity("learner", (Field("learner", FeatureType.INT64),)),),
        schema=tuple(Field(name, kind) for name, kind in zip(FEATURES, kinds, strict=True)),
        source=ParquetSource("log", str(folder / "features.parquet"), "happened", "recorded"),
        ttl=timedelta(days=TTL_DAYS),
    )
    store = FeatureStore(Settings(home=folder / "home"), gather([view]))
    store.apply()
    measured(
        folder / "learnloop.parquet",
        lambda: store.get_historical_features(folder / "entities.parquet", [view]).to_arrow(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
