"""What TensorFlow Transform learns from the training split, and does to every row it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.learner_outcome.features import FEATURES, LABEL

if TYPE_CHECKING:
    import tensorflow as tf

COUNTS = ("clicks",)
"""Counts with a long tail, taken as logarithms."""

LIMIT = 6.0
"""Standard deviations beyond which a value is no further away."""


def preprocess(raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Scale every feature to mean 0 and standard deviation 1 over the training split.

    Args:
        raw: The features (float32) and the label (int64), each [batch] or [batch, 1].

    Returns:
        The scaled features (float32) and the label, of the same shapes.
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    transformed: dict[str, tf.Tensor] = {LABEL: raw[LABEL]}
    for name in FEATURES:
        values = tf.math.log1p(raw[name]) if name in COUNTS else raw[name]
        scaled = tft.scale_to_z_score(values)
        transformed[name] = tf.clip_by_value(scaled, -LIMIT, LIMIT)
    return transformed
