"""Features and network of the benchmark, used by LearnLoop and by hand alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

NUMBERS = tuple(f"x{i}" for i in range(10))
CATEGORIES = ("a", "b")
LABEL = "y"


def preprocess(raw: dict[str, Any]) -> dict[str, Any]:
    """Scale the numbers and number the categories."""
    import tensorflow_transform as tft

    transformed = {LABEL: raw[LABEL]}
    for name in NUMBERS:
        transformed[name] = tft.scale_to_z_score(raw[name])
    for name in CATEGORIES:
        transformed[name] = tft.compute_and_apply_vocabulary(
            raw[name], vocab_filename=name, num_oov_buckets=1
        )
    return transformed


def build_model(features: Any, *, units: int = 64) -> keras.Model:
    """Build the network: embeddings of 4, then 64-64-1."""
    import keras

    inputs = {name: features[name].input() for name in (*NUMBERS, *CATEGORIES)}
    parts = [inputs[name] for name in NUMBERS]
    for name in CATEGORIES:
        embedding = keras.layers.Embedding(16, 4)(inputs[name])
        parts.append(keras.layers.Flatten()(embedding))
    hidden = keras.layers.Concatenate()(parts)
    for _ in range(2):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
