"""A small pipeline from a CSV to a published model, for tests that need all of it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.ingest import ingest
from components.recipe import learn_and_publish
from components.split import split
from learnloop.pipeline import pipeline

ROWS = 3_000


def write_source(path: Path, seed: int = 1) -> None:
    """Write learners whose score says whether they pass."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as csv

    random = np.random.default_rng(seed)
    ability = random.normal(size=ROWS)
    csv.write_csv(
        pa.table(
            {
                "learner": [f"secret-learner-{number}" for number in range(ROWS)],
                "score": 60 + 15 * ability,
                "course": random.choice(["algebra", "logic"], ROWS),
                "passed": (ability + random.normal(size=ROWS) * 0.6 > 0).astype(np.int64),
            }
        ),
        path,
    )


def preprocess(raw: dict[str, Any]) -> dict[str, Any]:
    """Scale the score, number the course."""
    import tensorflow_transform as tft

    return {
        "score": tft.scale_to_z_score(raw["score"]),
        "course": tft.compute_and_apply_vocabulary(raw["course"], num_oov_buckets=1),
        "passed": raw["passed"],
    }


def build_model(features: Any, *, units: int = 8) -> Any:
    """Build a small network."""
    import keras

    inputs = {name: column.input() for name, column in features.items()}
    embedding = keras.layers.Embedding(features["course"].categories, 2)(inputs["course"])
    hidden = keras.layers.Concatenate()([inputs["score"], keras.layers.Flatten()(embedding)])
    hidden = keras.layers.Dense(units, activation="relu")(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))


@pipeline
def small(source: str, epochs: int = 60, min_auc: float = 0.7) -> None:
    """Predict whether a learner passes."""
    rows = split(ingest(source=source, layout="csv").records, by="learner")
    learn_and_publish(
        rows.examples,
        name="small",
        label="passed",
        preprocessing="tests.components.small:preprocess",
        model_builder="tests.components.small:build_model",
        epochs=epochs,
        min_auc=min_auc,
    )
