"""The raw columns that an exported model takes, and how a caller pads what has no fixed length.

TensorFlow Serving takes dense tensors only. A raw feature without a fixed shape (a sequence, or a
value that may be missing) is therefore served as `[batch, time]`, filled up at its end with a
padding value that no real value can be: the empty string, NaN, and for integers -1 where the schema
says that the feature is never negative, else the smallest int64. Padding never reaches the
transform, which sees what it saw in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow_metadata.proto.v0 import schema_pb2

NOTHING_ASKED = -1.0
"""What `every_step` answers beyond the end of a row."""

SMALLEST_INTEGER = -(2**63)
"""Pads integers that may be negative."""


@dataclass(frozen=True)
class RawColumn:
    """One raw column of the served signature.

    Attributes:
        name: The raw feature's name.
        dtype: `float32`, `int64` or `string`.
        shape: Without the batch: `()`, `(k,)`, or `(None,)` where the length varies.
        padding: What fills a row up at its end (also: a missing value); None for a fixed shape.
            NaN is written as the text `NaN`, which JSON cannot hold.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    padding: str | int | None = None

    @classmethod
    def of(cls, name: str, spec: Any, never_negative: frozenset[str] = frozenset()) -> Self:
        """Describe how a raw feature is served.

        Args:
            name: Its name.
            spec: `tf.io.FixedLenFeature` or `tf.io.VarLenFeature`.
            never_negative: Integer features without values below zero.
        """
        import tensorflow as tf

        dtype = spec.dtype.name
        if isinstance(spec, tf.io.FixedLenFeature):
            return cls(name, dtype, tuple(spec.shape))
        integer = -1 if name in never_negative else SMALLEST_INTEGER
        paddings: dict[str, str | int] = {"string": "", "float32": "NaN", "int64": integer}
        return cls(name, dtype, (None,), paddings[dtype])

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**document, "shape": tuple(document["shape"])})

    def to_json(self) -> dict[str, Any]:
        """Describe the column for `training.json`."""
        return {**self.__dict__, "shape": list(self.shape)}

    @property
    def padding_value(self) -> str | int | float | None:
        """The padding as a tensor holds it."""
        return float(self.padding) if self.padding == "NaN" else self.padding

    def tensor_spec(self) -> tf.TensorSpec:
        """The tensor that a caller sends: `[batch, *shape]`."""
        import tensorflow as tf

        return tf.TensorSpec([None, *self.shape], self.dtype, name=self.name)

    def parsing_spec(self) -> Any:
        """The feature as it lies in a serialised `tf.Example`."""
        import tensorflow as tf

        dtype = tf.as_dtype(self.dtype)
        if self.padding is None:
            return tf.io.FixedLenFeature(self.shape, dtype)
        return tf.io.VarLenFeature(dtype)

    def without_padding(self, values: tf.Tensor) -> tf.Tensor | tf.SparseTensor:
        """Give the transform what it saw in training: a sparse tensor where the length varies.

        Only the end of a row is padding; the same value before a real one stays.
        """
        import tensorflow as tf

        if self.padding is None:
            return values
        is_nan = self.padding == "NaN"
        is_real = ~tf.math.is_nan(values) if is_nan else values != self.padding
        real_from_here = tf.cumsum(tf.cast(is_real, tf.int32), axis=1, reverse=True)
        places = tf.where(real_from_here > 0)
        return tf.SparseTensor(
            places, tf.gather_nd(values, places), tf.shape(values, out_type=tf.int64)
        )


def never_negative(schema: schema_pb2.Schema) -> frozenset[str]:
    """Name the integer features that a schema promises never to be below zero."""
    return frozenset(
        feature.name
        for feature in schema.feature
        if feature.WhichOneof("domain_info") == "int_domain"
        and feature.int_domain.HasField("min")
        and feature.int_domain.min >= 0
    )


def describe_signature(
    inputs: Sequence[RawColumn], *, is_per_step: bool, longest: int
) -> dict[str, Any]:
    """Describe the served signatures for `training.json`.

    Args:
        inputs: The raw columns of `serving_default`.
        is_per_step: Whether the model answers at every step.
        longest: Steps of the longest sequence it was trained on.

    Returns:
        JSON-able: the inputs with their padding, and what each signature answers.
    """
    described: dict[str, Any] = {"inputs": [column.to_json() for column in inputs]}
    if any(column.padding is not None for column in inputs):
        described |= {"padding_side": "end", "longest_in_training": longest}
    by_row = {"probability": {"dtype": "float32", "shape": []}}
    if is_per_step:
        steps = {"dtype": "float32", "shape": [None], "padding": NOTHING_ASKED}
        by_step = {"probability": steps}
        return {**described, "signatures": {"serving_default": by_row, "every_step": by_step}}
    examples = "a serialised tf.Example a row, under 'inputs'"
    return {
        **described,
        "signatures": {
            "serving_default": by_row,
            "classify": {"inputs": examples, "classes": ["0", "1"]},
            "regress": {"inputs": examples},
        },
    }
