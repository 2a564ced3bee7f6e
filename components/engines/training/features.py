"""What a model builder knows of the data: the transformed columns by name, shape and categories.

The contract of a builder is one function of the author's::

    import keras

    from components.engines.training.features import Features


    def build_model(features: Features, *, units: int = 64) -> keras.Model:
        inputs = {name: column.input() for name, column in features.items()}
        region = keras.layers.Embedding(features["region"].categories, 8)(inputs["region"])
        numbers = [inputs[name] for name in ("clicks", "score")]
        joined = keras.layers.Concatenate()([keras.layers.Flatten()(region), *numbers])
        hidden = keras.layers.Dense(units, activation="relu")(joined)
        return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))

It returns an ordinary Keras 3 model whose inputs are named after the columns that it reads (it need
not read all) and whose output is a probability. Keyword parameters are the hyperparameters. A layer
class of the author's own is registered (`@keras.saving.register_keras_serializable()`), so that the
saved model can be read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import pyarrow as pa


@dataclass(frozen=True)
class FeatureColumn:
    """One transformed column.

    Attributes:
        name: The column's name, which is the name of the model input that it feeds.
        dtype: `float32` or `int32`.
        shape: `()` for one value a row, `(k,)` for k values, `(None,)` for a sequence.
        categories: For indexes into a vocabulary or buckets, how many there are; else None.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    categories: int | None = None

    @property
    def is_sequence(self) -> bool:
        """Whether rows have a varying number of steps."""
        return self.shape == (None,)

    def input(self) -> keras.KerasTensor:
        """Make the Keras input it feeds: `[batch, 1]`, `[batch, k]` or `[batch, time]`."""
        import keras

        return keras.Input(self.shape or (1,), name=self.name, dtype=self.dtype)


Features = Mapping[str, FeatureColumn]
"""The transformed columns that a model may read, by name."""


def describe_features(
    schema: pa.Schema, hidden: Iterable[str] = (), categories: Mapping[str, int] | None = None
) -> Features:
    """Describe the numeric columns of transformed examples, sorted by name.

    Args:
        schema: The examples' Arrow schema.
        hidden: Columns that a model must not read (the label, the weight).
        categories: How many categories an index column has, by name.

    Example:
        >>> import pyarrow as pa
        >>> schema = pa.schema({"clicks": pa.float32(), "failed": pa.int64()})
        >>> list(describe_features(schema, hidden=["failed"]))
        ['clicks']
    """
    left_out = set(hidden)
    return {
        field.name: describe_column(field, (categories or {}).get(field.name))
        for field in sorted(schema, key=lambda field: field.name)
        if is_numeric(field.type) and field.name not in left_out
    }


def describe_column(field: pa.Field, categories: int | None = None) -> FeatureColumn:
    """Describe one numeric Arrow column; a fixed list of one value is one value."""
    import pyarrow as pa

    kind = field.type
    shape: tuple[int | None, ...] = ()
    if pa.types.is_fixed_size_list(kind):
        shape = (kind.list_size,) if kind.list_size != 1 else ()
        kind = kind.value_type
    elif is_list(kind):
        kind, shape = kind.value_type, (None,)
    dtype = "float32" if pa.types.is_floating(kind) else "int32"
    return FeatureColumn(field.name, dtype, shape, categories)


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column holds numbers, or one list of numbers a row."""
    import pyarrow as pa

    if holds_lists(kind):
        kind = kind.value_type
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def holds_lists(kind: pa.DataType) -> bool:
    """Whether a column holds lists, of one length or of varying length."""
    import pyarrow as pa

    return is_list(kind) or bool(pa.types.is_fixed_size_list(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists of varying length."""
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
