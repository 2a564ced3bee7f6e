"""The content of a transform graph, apart from the bytes that change from run to run.

A SavedModel holds temporary paths and counters, so two equal fits differ in bytes. What a transform
graph *does* follows from the transformed schema, the vocabulary files, the constants in the graph
and the author's code. The digest covers the first three; the code is the caller's to add.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def digest_transform_graph(transform_graph: Path) -> str:
    """Digest what a transform graph has learned from its training rows.

    Args:
        transform_graph: A folder written by ``fit_transform_graph``.

    Returns:
        A SHA-256 in hexadecimal, equal for equal schemas, vocabularies and constants, whichever
        engine made them.
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    from components.engines.transform.columns import feature_specs

    output = tft.TFTransformOutput(str(transform_graph))
    digest = hashlib.sha256()

    def add(*parts: Any) -> None:
        for part in parts:
            data = part if isinstance(part, bytes) else str(part).encode()
            digest.update(len(data).to_bytes(8, "little") + data)

    for name, spec in feature_specs(output.raw_metadata.schema).items():
        add("raw", name, spec)
    add("transformed", output.transformed_metadata.schema.SerializeToString(deterministic=True))
    assets = Path(output.transform_savedmodel_dir) / "assets"
    for path in sorted(assets.iterdir()) if assets.exists() else ():
        add("asset", path.name, path.read_bytes())
    function = tf.saved_model.load(output.transform_savedmodel_dir).transform_fn
    for node in sorted(function.graph.as_graph_def().node, key=lambda node: node.name):
        if node.op == "Const":
            value = tf.make_ndarray(node.attr["value"].tensor)
            content = repr(value.tolist()) if value.dtype == object else value.tobytes()
            add("constant", node.name, value.dtype, value.shape, content)
    for tensor in function.captured_inputs:
        if tensor.dtype not in (tf.resource, tf.string):
            add("captured", tensor.dtype, tensor.shape, tensor.numpy().tobytes())
    return digest.hexdigest()
