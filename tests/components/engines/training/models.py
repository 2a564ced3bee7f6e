"""Small models, transforms and examples that the tests of training share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from components.engines.training.features import Features

if TYPE_CHECKING:
    import keras


def dense_model(features: Features, *, units: int = 8, dropout: float = 0.0) -> keras.Model:
    """A dense model over every feature, an index embedded."""
    import keras

    inputs = {name: column.input() for name, column in features.items()}
    parts = []
    for name, column in features.items():
        if column.categories is None:
            parts.append(inputs[name])
        else:
            embedded = keras.layers.Embedding(column.categories, 2)(inputs[name])
            parts.append(keras.layers.Flatten()(embedded))
    hidden = keras.layers.Concatenate()(parts)
    hidden = keras.layers.Dense(units, activation="relu")(hidden)
    hidden = keras.layers.Dropout(dropout)(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))


def step_model(features: Features, *, units: int = 8) -> keras.Model:
    """A recurrent model with an answer at every step, over every (sequence) feature."""
    import keras

    inputs = {name: column.input() for name, column in features.items()}
    embedded = [
        keras.layers.Embedding(column.categories or 16, 4)(inputs[name])
        for name, column in features.items()
    ]
    hidden = keras.layers.Concatenate()(embedded) if len(embedded) > 1 else embedded[0]
    hidden = keras.layers.LSTM(units, return_sequences=True)(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))


def rows_table(rows: int = 600, seed: int = 0) -> pa.Table:
    """Two numbers that decide the label, and one that does not."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, 3)).astype(np.float32)
    label = (values[:, 0] - values[:, 1] + generator.normal(size=rows) > 0).astype(np.int64)
    return pa.table(
        {"clicks": values[:, 0], "days": values[:, 1], "noise": values[:, 2], "failed": label}
    )


def sequences_table(rows: int = 80, seed: int = 0) -> pa.Table:
    """Sequences of skills 1..9; an answer is right where the skill is even, most of the time."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 12, rows)
    skills = [generator.integers(1, 10, length) for length in lengths]
    correct = [((s % 2 == 0) ^ (generator.random(len(s)) < 0.1)).astype(np.int64) for s in skills]
    kind = pa.list_(pa.int64())
    return pa.table({"skills": pa.array(skills, kind), "correct": pa.array(correct, kind)})
