"""Arrow columns to tensors and back, as the curated schema says.

A feature with a fixed shape is dense: a number or string per row, or a list of equal length per row
(a sequence), without missing values. A feature without a shape is optional: a null (or an empty
list) means that the row has none, and TensorFlow Transform sees a sparse tensor. Nothing here walks
over rows in Python.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from learnloop.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2

FeatureSpecs = Mapping[str, Any]
"""By feature: ``tf.io.FixedLenFeature`` (dense) or ``tf.io.VarLenFeature`` (optional)."""

Tensors = dict[str, Any]
"""By feature: a dense ``tf.Tensor`` [batch, *shape] or a ``tf.SparseTensor`` [batch, values]."""


def feature_specs(schema: schema_pb2.Schema) -> dict[str, Any]:
    """Read how TensorFlow Transform takes each feature of a schema.

    Args:
        schema: The curated schema.

    Returns:
        The specification of each feature, by name.

    Raises:
        UsageError: A feature is neither dense nor optional (sparse with index columns, ragged).
    """
    import tensorflow as tf
    from tensorflow_transform.tf_metadata import schema_utils

    specs: dict[str, Any] = dict(
        sorted(schema_utils.schema_as_feature_spec(schema).feature_spec.items())
    )
    for name, spec in specs.items():
        if not isinstance(spec, tf.io.FixedLenFeature | tf.io.VarLenFeature):
            raise UsageError(
                "A feature has a form that is not supported.",
                where=f"schema, feature '{name}'",
                expected="a fixed shape, or no shape (optional)",
                received=type(spec).__name__,
                next="describe the feature by `shape`, or without one",
            )
    return specs


def require_columns(available: Collection[str], needed: Iterable[str], where: str) -> None:
    """Refuse data that lacks a column.

    Args:
        available: The data's columns.
        needed: The features that will be read.
        where: What the data is, for the message.

    Raises:
        UsageError: A needed column is not there.
    """
    missing = sorted(set(needed) - set(available))
    if missing:
        raise UsageError(
            "The data lacks features that the preprocessing function reads.",
            where=where,
            expected="the columns " + ", ".join(sorted(needed)),
            received="no column " + ", ".join(missing),
            next="mend the ingested data, or take the feature out of the schema and the function",
        )


def to_tensors(batch: pa.RecordBatch, specs: FeatureSpecs, fed: Collection[str]) -> Tensors:
    """Turn a record batch into the tensors that a traced ``preprocessing_fn`` takes.

    Args:
        batch: The rows.
        specs: How each feature is taken.
        fed: The features that are read; the others are blank, and need no column.

    Returns:
        A tensor for each feature of ``specs``.

    Raises:
        UsageError: A value is missing, of another type, or of another shape than its schema says.
    """
    import tensorflow as tf

    tensors: Tensors = {}
    for name, spec in specs.items():
        is_dense = isinstance(spec, tf.io.FixedLenFeature)
        if name in fed:
            read = _dense if is_dense else _sparse
            tensors[name] = read(name, batch.column(batch.schema.get_field_index(name)), spec)
        elif is_dense:
            tensors[name] = tf.zeros([batch.num_rows, *spec.shape], spec.dtype)
        else:
            tensors[name] = tf.sparse.from_dense(tf.zeros([batch.num_rows, 0], spec.dtype))
    return tensors


def to_batch(tensors: Tensors, schema: pa.Schema) -> pa.RecordBatch:
    """Turn transformed tensors into a record batch.

    Args:
        tensors: A tensor for each column of ``schema``.
        schema: The transformed columns, from :func:`arrow_schema`.

    Returns:
        The rows.
    """
    import pyarrow as pa
    import tensorflow as tf

    columns = []
    for field in schema:
        tensor = tensors[field.name]
        if isinstance(tensor, tf.SparseTensor):
            lengths = tf.math.bincount(
                tf.cast(tensor.indices[:, 0], tf.int32),
                minlength=tf.cast(tensor.dense_shape[0], tf.int32),
            )
            offsets = pa.array(tf.concat([[0], tf.cumsum(lengths)], 0).numpy(), pa.int32())
            values = _to_array(tensor.values.numpy(), field.type.value_type)
            columns.append(pa.ListArray.from_arrays(offsets, values))
        else:
            columns.append(_to_array(tensor.numpy(), field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def arrow_schema(specs: FeatureSpecs) -> pa.Schema:
    """Describe transformed features as Arrow columns.

    Args:
        specs: How each transformed feature is shaped.

    Returns:
        Numbers as ``float`` or ``int64``, text as ``string``; a fixed-size list for each dimension
        of a dense feature beyond the batch, a list for an optional feature.
    """
    import pyarrow as pa
    import tensorflow as tf

    primitive = {tf.float32: pa.float32(), tf.int64: pa.int64(), tf.string: pa.string()}
    fields = []
    for name, spec in specs.items():
        kind = primitive[spec.dtype]
        if isinstance(spec, tf.io.FixedLenFeature):
            for size in reversed(spec.shape):
                kind = pa.list_(kind, size)
        else:
            kind = pa.list_(kind)
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def _dense(name: str, column: pa.Array, spec: Any) -> Any:
    import tensorflow as tf

    values = column
    for size in spec.shape:
        if not _is_list(values):
            break
        lengths = _lengths(values)
        if values.null_count or (lengths != size).any():
            raise UsageError(
                "A sequence does not have the length that its schema says.",
                where=f"feature '{name}'",
                expected=f"{size} values in each row",
                received=f"lengths {int(lengths.min())} to {int(lengths.max())}"
                + (f", {values.null_count} missing" if values.null_count else ""),
                next="pad the sequences while they are made, or change `shape` in the schema",
            )
        values = values.flatten()
    if len(values) != len(column) * math.prod(spec.shape) or _is_list(values):
        raise UsageError(
            "A feature does not have the shape that its schema says.",
            where=f"feature '{name}'",
            expected=f"shape {list(spec.shape)} in each row",
            received=str(column.type),
            next="change `shape` in the schema, or the column",
        )
    if values.null_count:
        raise UsageError(
            "A required feature has missing values.",
            where=f"feature '{name}'",
            expected="a value in each row",
            received=f"{values.null_count} missing in a batch of {len(column)} rows",
            next="fill them in, or make the feature optional: take `shape` out of the schema",
        )
    flat = _to_numpy(name, values, spec.dtype)
    return tf.reshape(tf.constant(flat, spec.dtype), [len(column), *spec.shape])


def _sparse(name: str, column: pa.Array, spec: Any) -> Any:
    import numpy as np
    import tensorflow as tf

    if _is_list(column):
        lengths = _lengths(column)
        values = column.drop_null().flatten()
        if values.null_count:
            raise UsageError(
                "A list has a missing value inside.",
                where=f"feature '{name}'",
                expected="lists of values; a row without values has an empty list or a null",
                received=f"{values.null_count} nulls inside lists",
                next="leave the missing values out of the lists",
            )
    else:
        lengths = column.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)
        values = column.drop_null()
    rows = np.repeat(np.arange(len(column)), lengths)
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(len(values)) - np.repeat(starts, lengths)
    return tf.SparseTensor(
        np.stack([rows, positions], axis=1).astype(np.int64),
        tf.constant(_to_numpy(name, values, spec.dtype), spec.dtype),
        [len(column), int(lengths.max(initial=0))],
    )


def _is_list(column: pa.Array) -> bool:
    import pyarrow as pa

    types = pa.types
    kind = column.type
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _lengths(column: pa.Array) -> np.ndarray[Any, Any]:
    import numpy as np
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).fill_null(0)
    result: np.ndarray[Any, Any] = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    return result


def _to_numpy(name: str, values: pa.Array, dtype: Any) -> np.ndarray[Any, Any]:
    import pyarrow as pa
    import tensorflow as tf

    wanted = {tf.float32: pa.float32(), tf.int64: pa.int64(), tf.string: pa.binary()}[dtype]
    try:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if dtype == tf.string and not (
            pa.types.is_string(values.type)
            or pa.types.is_large_string(values.type)
            or pa.types.is_binary(values.type)
        ):
            raise pa.ArrowInvalid(f"{values.type} is not text")
        # Doubles lose digits on the way to TensorFlow's 32 bits; that is meant, not an error.
        is_narrowing = pa.types.is_floating(values.type) and dtype == tf.float32
        array = values.cast(wanted, safe=not is_narrowing)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        raise UsageError(
            "A feature has another type than its schema says.",
            where=f"feature '{name}'",
            expected=f"values that fit {wanted}",
            received=f"{values.type}: {fault}",
            next="change `type` in the schema, or the column",
        ) from None
    result: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
    return result


def _to_array(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        inner = values.reshape(-1, *values.shape[2:])
        return pa.FixedSizeListArray.from_arrays(_to_array(inner, kind.value_type), kind.list_size)
    if pa.types.is_string(kind):
        return pa.array(values, pa.binary()).cast(kind)
    return pa.array(values, kind)
