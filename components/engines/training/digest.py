"""What a model is, apart from the bytes that change from run to run.

A SavedModel holds temporary paths and function counters and a `.keras` file holds times, so equal
models differ in bytes. What a model answers follows from its weights, its builder's code, its
transform graph and its signature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def digest_weights(model: keras.Model) -> str:
    """Digest a model's weights: path, dtype, shape and bytes of each, in the model's order.

    Args:
        model: Made by `build`, so that equal layers have equal paths.

    Returns:
        A SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        values = weight.numpy()
        head = json.dumps([weight.path, values.dtype.str, list(values.shape)])
        digest.update(head.encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def digest_model(
    model: keras.Model, *, signature: Mapping[str, Any], transform_graph: str, builder: str
) -> str:
    """Digest all that decides what an exported model answers.

    Args:
        model: The trained model.
        signature: The served signature as `training.json` describes it.
        transform_graph: The content digest of the transform graph.
        builder: The digest of the model builder's code.

    Returns:
        A SHA-256 in hexadecimal.
    """
    parts = {
        "weights": digest_weights(model),
        "signature": signature,
        "transform_graph": transform_graph,
        "builder": builder,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
