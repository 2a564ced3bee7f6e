"""Warm-up requests: what TensorFlow Serving asks a version before it lets callers in.

``assets.extra/tf_serving_warmup_requests`` is a TFRecord file of ``PredictionLog``, at most 1,000
(https://www.tensorflow.org/tfx/serving/saved_model_warmup).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def write_warmup_requests(
    version: Path, model_name: str, rows: Mapping[str, Any], batch_sizes: tuple[int, ...] = (1, 32)
) -> None:
    """Write warm-up requests made of rows.

    Args:
        version: The SavedModel's folder.
        model_name: The name it is served under.
        rows: Raw columns by name: numpy arrays of equal first dimension, as the signature has it.
        batch_sizes: A request of so many rows each; rows repeat where there are fewer.
    """
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = version / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in batch_sizes:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = "serving_default"
            for name, values in rows.items():
                chosen = np.resize(values, (size, *values.shape[1:]))
                request.inputs[name].CopyFrom(tf.make_tensor_proto(chosen))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString(deterministic=True))
