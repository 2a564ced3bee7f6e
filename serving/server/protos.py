"""TensorFlow Serving's protocol buffers, without TensorFlow.

Their modules import ``tensorflow.core.…_pb2``, and importing anything below ``tensorflow`` runs
TensorFlow itself: five seconds and 400 MB that a server of converted models does not need. The
generated modules need nothing but protobuf, so while they are imported here, packages that are only
a search path stand in for TensorFlow's. Afterwards those are gone again, while the generated
modules stay: a later ``import tensorflow`` finds and uses the very same classes.

``prediction_service_pb2`` and ``model_service_pb2`` of tensorflow-serving-api 2.16 are not here:
they were generated for an older protobuf and fail to import with every one that TensorFlow 2.16
takes. The stubs of gRPC do not need them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from learnloop.errors import UsageError


def tensorflow_folder() -> Path:
    """Find where TensorFlow is installed, without importing it.

    Raises:
        UsageError: It is not installed.
    """
    try:
        found = importlib.util.find_spec("tensorflow")
    except ValueError:  # a stand-in has no spec
        found = None
    if found is None or found.origin is None:
        raise UsageError(
            "TensorFlow is not installed.",
            where="serving.server",
            expected="TensorFlow, for its protocol buffers and its kernels",
            received="no package of this name",
            next="pip install 'learnloop[learning,serving]'",
        )
    return Path(found.origin).parent


@contextmanager
def without_tensorflow(*packages: str) -> Iterator[None]:
    """Let modules below these packages of TensorFlow be imported, and the packages themselves not.

    Args:
        packages: Dotted names, each after its parent; all begin with ``tensorflow``.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    folder = tensorflow_folder()
    stand_ins = {}
    for name in packages:
        stand_in = ModuleType(name)
        stand_in.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        stand_ins[name] = stand_in
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


with without_tensorflow(
    "tensorflow",
    "tensorflow.core",
    "tensorflow.core.example",
    "tensorflow.core.framework",
    "tensorflow.core.protobuf",
    "tensorflow.tsl",
    "tensorflow.tsl.protobuf",
):
    from tensorflow.core.example import example_pb2, feature_pb2
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
    from tensorflow.core.protobuf import (
        config_pb2,
        error_codes_pb2,
        meta_graph_pb2,
        saved_model_pb2,
    )
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        input_pb2,
        model_management_pb2,
        model_pb2,
        predict_pb2,
        prediction_log_pb2,
        regression_pb2,
    )
    from tensorflow_serving.config import (
        file_system_storage_path_source_pb2,
        model_server_config_pb2,
    )

__all__ = [
    "classification_pb2",
    "config_pb2",
    "error_codes_pb2",
    "example_pb2",
    "feature_pb2",
    "file_system_storage_path_source_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "input_pb2",
    "meta_graph_pb2",
    "model_management_pb2",
    "model_pb2",
    "model_server_config_pb2",
    "predict_pb2",
    "prediction_log_pb2",
    "regression_pb2",
    "saved_model_pb2",
    "tensor_pb2",
    "tensor_shape_pb2",
    "tensorflow_folder",
    "types_pb2",
    "without_tensorflow",
]
