"""Start from another model's weights, or say which layer does not fit."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.errors import UsageError

if TYPE_CHECKING:
    import keras


def warm_start(model: keras.Model, base: Path) -> None:
    """Copy the weights of a saved Keras model into a new one with the same layers.

    Args:
        model: The model to start.
        base: A `model.keras` file.

    Raises:
        UsageError: If the layers differ, naming the first that does.
    """
    import keras

    trained = keras.saving.load_model(base, compile=False)
    for new, old in zip_longest(model.weights, trained.weights):
        known = old if new is None else new
        if new is None or old is None or new.shape != old.shape:
            raise UsageError(
                "The base model has other layers than the model to train.",
                where=f"layer {known.path.rpartition('/')[0]}",
                expected=_describe(new),
                received=_describe(old),
                next="train without a base, or with the hyperparameters of the base model",
            )
    model.set_weights(trained.get_weights())


def _describe(weight: keras.Variable | None) -> str:
    if weight is None:
        return "no further weights"
    return f"{weight.path} of shape {list(weight.shape)}"
