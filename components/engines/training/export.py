"""A trained model as a SavedModel over raw columns, with the transform graph inside.

Serving repeats training exactly because it runs the same two graphs. Signatures:

- `serving_default`: named raw columns (:mod:`.signature`) to `probability` [batch]; of a model that
  answers at every step, the answer at the row's last step.
- `every_step`, of such a model only: `probability` [batch, time], -1 beyond the end of a row.
- `classify` and `regress`, of a model with one answer a row: a serialised `tf.Example` a row under
  `inputs`, for TensorFlow Serving's Classify and Regress; the classes are "0" and "1".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.training.loop import model_inputs
from components.engines.training.signature import NOTHING_ASKED, RawColumn
from components.engines.transform.serving_layer import serving_transform

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    Tensors = Mapping[str, tf.Tensor | tf.SparseTensor]

_METHODS = {"classify": "tensorflow/serving/classify", "regress": "tensorflow/serving/regress"}


def export_saved_model(
    model: keras.Model,
    transform_graph: Path,
    folder: Path,
    *,
    is_per_step: bool,
    never_negative: frozenset[str] = frozenset(),
) -> tuple[RawColumn, ...]:
    """Write the SavedModel.

    Args:
        model: Over transformed columns, one probability a row or a step.
        transform_graph: The folder of the transform graph that made those columns.
        folder: Where to write; it must not exist.
        is_per_step: Whether the model answers at every step of a sequence.
        never_negative: Raw integer features without values below zero (:mod:`.signature`).

    Returns:
        The raw columns of `serving_default`, sorted by name.
    """
    import tensorflow as tf

    transform = serving_transform(transform_graph, [tensor.name for tensor in model.inputs])
    columns = tuple(
        RawColumn.of(name, spec, never_negative) for name, spec in sorted(transform.raw.items())
    )
    module = tf.Module()
    module.transform = transform.module
    module.weights = [variable.value for variable in model.variables]

    def answer(raw: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        transformed = transform.apply(raw)
        inputs = model_inputs(model, {name: _dense(t) for name, t in transformed.items()})
        return model(inputs, training=False), _lengths(transformed)

    traced_once = tf.function(answer, autograph=False)
    signatures = _signatures(traced_once, columns, is_per_step=is_per_step)
    tf.saved_model.save(module, str(folder), signatures)
    _name_methods(folder, signatures)
    return columns


def _signatures(
    answer: Callable[[Tensors], tuple[tf.Tensor, tf.Tensor]],
    columns: Sequence[RawColumn],
    *,
    is_per_step: bool,
) -> dict[str, Any]:
    import tensorflow as tf

    raw_specs = {column.name: column.tensor_spec() for column in columns}
    example_specs = {column.name: column.parsing_spec() for column in columns}

    def from_columns(raw: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return answer({c.name: c.without_padding(raw[c.name]) for c in columns})

    def by_row(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability": _flat(from_columns(raw)[0])}

    def by_step(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability": _steps(*from_columns(raw))[0]}

    def last_step(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        steps, last = _steps(*from_columns(raw))
        asked = tf.concat([steps, tf.fill([tf.shape(steps)[0], 1], NOTHING_ASKED)], axis=1)
        return {"probability": tf.gather(asked, last, axis=1, batch_dims=1)}

    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        event = _flat(answer(tf.io.parse_example(inputs, example_specs))[0])
        classes = tf.broadcast_to(tf.constant(["0", "1"]), [tf.shape(event)[0], 2])
        return {"scores": tf.stack([1 - event, event], axis=1), "classes": classes}

    def regress(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": _flat(answer(tf.io.parse_example(inputs, example_specs))[0])}

    def trace(function: Callable[..., object], **specs: tf.TensorSpec) -> Any:
        return tf.function(function, autograph=False).get_concrete_function(**specs)

    if is_per_step:
        return {
            "serving_default": trace(last_step, **raw_specs),
            "every_step": trace(by_step, **raw_specs),
        }
    serialised = tf.TensorSpec([None], tf.string, name="inputs")
    return {
        "serving_default": trace(by_row, **raw_specs),
        "classify": trace(classify, inputs=serialised),
        "regress": trace(regress, inputs=serialised),
    }


def _dense(tensor: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """Shape a transformed column as batches in training are: `[batch, k]` or `[batch, time]`."""
    import tensorflow as tf

    if isinstance(tensor, tf.SparseTensor):
        return tf.sparse.to_dense(tensor)
    return tensor[:, None] if tensor.shape.rank == 1 else tensor


def _lengths(transformed: Tensors) -> tf.Tensor:
    """int64 `[batch]`: steps of the longest sequence of each row; -1 where no length varies."""
    import tensorflow as tf

    longest = tf.constant(-1, tf.int64)
    for tensor in transformed.values():
        if isinstance(tensor, tf.SparseTensor):
            row = tensor.indices[:, 0]
            longest = tf.maximum(
                longest,
                tf.math.unsorted_segment_sum(tf.ones_like(row), row, tensor.dense_shape[0]),
            )
    return longest


def _flat(answer: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.reshape(answer, [-1])


def _steps(answer: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Blank the steps beyond each row's end; name the last step (one past the end where none)."""
    import tensorflow as tf

    shape = tf.shape(answer, out_type=tf.int64)[:2]
    lengths = tf.broadcast_to(tf.where(lengths < 0, shape[1], lengths), shape[:1])
    is_asked = tf.range(shape[1]) < lengths[:, None]
    steps = tf.where(is_asked, tf.reshape(answer, shape), NOTHING_ASKED)
    return steps, tf.where(lengths > 0, lengths - 1, shape[1])


def _name_methods(folder: Path, signatures: Mapping[str, object]) -> None:
    """Name the methods of Classify and Regress, which TensorFlow 2 always calls predict."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = folder / "saved_model.pb"
    document = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for name in signatures.keys() & _METHODS.keys():
        document.meta_graphs[0].signature_def[name].method_name = _METHODS[name]
    file.write_bytes(document.SerializeToString(deterministic=True))
