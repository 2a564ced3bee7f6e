"""The dense network: all features beside each other, two hidden layers, one probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

    from components.engines.training.features import Features


def build_model(features: Features, *, units: int = 64, dropout: float = 0.2) -> keras.Model:
    """Build the network over the transformed features.

    Args:
        features: The transformed columns, one number a row each.
        units: Units of each of the two hidden layers.
        dropout: The share of hidden units left out of each training step.

    Returns:
        A model with an input for each feature and the probability of Fail or Withdrawn.
    """
    import keras

    inputs = {name: column.input() for name, column in features.items()}
    hidden = keras.layers.Concatenate()(list(inputs.values()))
    for _ in range(2):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
        hidden = keras.layers.Dropout(dropout)(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
