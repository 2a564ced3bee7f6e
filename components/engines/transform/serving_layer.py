"""A transform graph as a part of an exported model, so that serving repeats training exactly.

TensorFlow Transform's own Keras layer belongs to Keras 2 (``tf_keras``); our models are Keras 3.
The graph is a plain SavedModel, so it is loaded as such and becomes part of a ``tf.Module``; its
vocabulary files and tables are exported with the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnloop.errors import UsageError, closest


@dataclass(frozen=True)
class ServingTransform:
    """A transform graph, loaded.

    Args:
        module: A ``tf.Module`` that owns the graph's tables; the exported module must hold it.
        raw: The raw features that the asked outputs depend on, as ``tf.io.FixedLenFeature`` or
            ``tf.io.VarLenFeature``, by name: the served signature, without the label.
        apply: From raw tensors to transformed ones, by name; may be called in a ``tf.function``.
    """

    module: Any
    raw: dict[str, Any]
    apply: Callable[[Mapping[str, Any]], dict[str, Any]]


def serving_transform(transform_graph: Path, outputs: Iterable[str]) -> ServingTransform:
    """Load a transform graph for use inside an exported model.

    Args:
        transform_graph: A folder written by ``fit_transform_graph``.
        outputs: The transformed features that the model takes. A raw feature that none of them
            depends on (the label, for one) is not asked for.

    Returns:
        The loaded graph. A dense raw feature is a tensor [batch, *shape]. An optional one is a
        ``tf.SparseTensor``.

    Raises:
        UsageError: The graph has no such output.

    Example:
        ::

            transform = serving_transform(graph_folder, ["clicks", "region"])
            export = tf.Module()
            export.transform, export.model = transform.module, model

            @tf.function(input_signature=[{"clicks": tf.TensorSpec([None], tf.float32), ...}])
            def serve(raw):
                return export.model(transform.apply(raw))
    """
    import tensorflow as tf
    import tensorflow_transform as tft
    from tensorflow_transform import tf2_utils

    from components.engines.transform.columns import feature_specs

    output = tft.TFTransformOutput(str(transform_graph))
    wanted = tuple(outputs)
    known = output.transformed_feature_spec()
    for name in wanted:
        if name not in known:
            raise UsageError(
                "The transform graph has no such output.",
                where=transform_graph.name,
                expected=closest(name, known),
                received=repr(name),
            )
    loaded = tf.saved_model.load(output.transform_savedmodel_dir)
    function = loaded.transform_fn
    inputs = tf2_utils.get_structured_inputs_from_func_graph(function.graph)
    needed = _needed(function.graph, inputs, wanted)
    specs = feature_specs(output.raw_metadata.schema)
    module = tf.Module()
    module.transform_graph = loaded

    def apply(raw: Mapping[str, Any]) -> dict[str, Any]:
        some = next(iter(raw.values()))
        rows = some.dense_shape if isinstance(some, tf.SparseTensor) else tf.shape(some)
        rows = tf.cast(rows[0], tf.int32)
        fed = {
            name: raw[name] if name in needed else _blank(tensor, rows)
            for name, tensor in inputs.items()
        }
        transformed = function(*tf.nest.flatten(fed, expand_composites=True))
        return {name: transformed[name] for name in wanted}

    raw_specs = {name: spec for name, spec in specs.items() if name in needed}
    return ServingTransform(module, raw_specs, apply)


def _needed(graph: Any, inputs: Mapping[str, Any], outputs: Iterable[str]) -> frozenset[str]:
    """The raw features that some transformed features depend on."""
    import tensorflow as tf
    from tensorflow_transform import graph_tools

    def flat(tensor: Any) -> list[Any]:
        return list(tf.nest.flatten(tensor, expand_composites=True))

    structure = graph.structured_outputs
    transformed = tf.nest.pack_sequence_as(structure, graph.outputs, expand_composites=True)
    sinks = [tensor.op for name in outputs for tensor in flat(transformed[name])]
    sources = graph_tools.retrieve_sources(sinks, ignore_control_dependencies=True)
    identities = {id(source) for source in sources}
    return frozenset(
        name
        for name, tensor in inputs.items()
        if any(id(part) in identities for part in flat(tensor))
    )


def _blank(placeholder: Any, rows: Any) -> Any:
    """A tensor for an input that no asked output depends on."""
    import tensorflow as tf

    if isinstance(placeholder, tf.SparseTensor):
        shape = tf.stack([tf.cast(rows, tf.int64), 0])
        return tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0], placeholder.dtype), shape)
    shape = tf.concat([[rows], placeholder.shape[1:]], 0)
    return tf.zeros(shape, placeholder.dtype)
