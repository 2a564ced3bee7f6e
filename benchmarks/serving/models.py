"""Makes the two models: ``python -m benchmarks.serving.models FOLDER``.

``models/NAME/1`` is the SavedModel that everybody serves, and ``keras/NAME.keras`` the same for
MLflow, which saves Keras models in a way of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving.warmup import write_warmup_requests

if TYPE_CHECKING:
    import keras

STEPS, FEATURES = 20, 8
SHAPES = {"dense": (10,), "lstm": (STEPS, FEATURES)}


def rows(name: str, count: int) -> npt.NDArray[np.float32]:
    """Draw rows for a model; equal for equal arguments."""
    drawn = np.random.default_rng(7).normal(size=(count, *SHAPES[name]))
    return drawn.round(4).astype(np.float32)


def make(folder: Path) -> None:
    """Write ``dense`` (10 → 64 → 64 → 1) and ``lstm`` (64 units) below a folder."""
    import keras
    from keras import layers

    stacks = {
        "dense": [layers.Dense(64, "relu"), layers.Dense(64, "relu")],
        "lstm": [layers.LSTM(64)],
    }
    for name, stack in stacks.items():
        keras.utils.set_random_seed(7)
        model = keras.Sequential([keras.Input(SHAPES[name]), *stack, layers.Dense(1, "sigmoid")])
        _export(model, name, folder / "models" / name / "1")
        (folder / "keras").mkdir(exist_ok=True)
        model.save(folder / "keras" / f"{name}.keras")


def _export(model: keras.Model, name: str, version: Path) -> None:
    """Export by Keras's own means: ``tf.saved_model.save`` would leave its variables out."""
    import tensorflow as tf
    from keras import export

    archive = export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda x: {"y": model(x)},
        [tf.TensorSpec([None, *SHAPES[name]], tf.float32, name="x")],
    )
    archive.write_out(str(version), verbose=False)
    write_warmup_requests(version, name, {"x": rows(name, 32)})


if __name__ == "__main__":
    make(Path(sys.argv[1]))
