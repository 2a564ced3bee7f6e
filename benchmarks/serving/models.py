"""Makes the two models: ``python -m benchmarks.serving.models FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

STEPS, FEATURES = 20, 8
SHAPES = {"dense": (10,), "lstm": (STEPS, FEATURES)}


def make(folder: Path) -> None:
    """Write ``dense/1`` (10 → 64 → 64 → 1) and ``lstm/1`` (64 units) below a folder."""
    import keras
    import tensorflow as tf
    from keras import layers

    stacks = {
        "dense": [layers.Dense(64, "relu"), layers.Dense(64, "relu")],
        "lstm": [layers.LSTM(64)],
    }
    for name, stack in stacks.items():
        model = keras.Sequential([keras.Input(SHAPES[name]), *stack, layers.Dense(1, "sigmoid")])

        @tf.function(input_signature=[tf.TensorSpec([None, *SHAPES[name]], tf.float32, name="x")])
        def serve(x: tf.Tensor, model: keras.Model = model) -> dict[str, tf.Tensor]:
            return {"y": model(x)}

        tf.saved_model.save(model, str(folder / name / "1"), signatures=serve)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
