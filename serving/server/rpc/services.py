"""The descriptors of the services, for reflection.

The generated modules that would hold them cannot be imported (see :mod:`serving.server.protos`),
so they are written out here: a method is its name and the names of two messages.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from serving.server.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

_PACKAGE = "tensorflow.serving"
_FILES: dict[str, tuple[str, tuple[Any, ...], dict[str, tuple[str, str]]]] = {
    "tensorflow_serving/apis/prediction_service.proto": (
        "PredictionService",
        (classification_pb2, get_model_metadata_pb2, inference_pb2, predict_pb2, regression_pb2),
        {
            "Classify": ("ClassificationRequest", "ClassificationResponse"),
            "Regress": ("RegressionRequest", "RegressionResponse"),
            "Predict": ("PredictRequest", "PredictResponse"),
            "MultiInference": ("MultiInferenceRequest", "MultiInferenceResponse"),
            "GetModelMetadata": ("GetModelMetadataRequest", "GetModelMetadataResponse"),
        },
    ),
    "tensorflow_serving/apis/model_service.proto": (
        "ModelService",
        (get_model_status_pb2, model_management_pb2),
        {
            "GetModelStatus": ("GetModelStatusRequest", "GetModelStatusResponse"),
            "HandleReloadConfigRequest": ("ReloadConfigRequest", "ReloadConfigResponse"),
        },
    ),
}


def descriptor_pool() -> DescriptorPool:
    """Make a pool with the services and every message they use."""
    pool = DescriptorPool()
    for module in (health_pb2, reflection_pb2):
        _copy(module.DESCRIPTOR, pool, set())
    known: set[str] = set()
    for path, (service, modules, methods) in _FILES.items():
        for module in modules:
            _copy(module.DESCRIPTOR, pool, known)
        file = FileDescriptorProto(
            name=path,
            package=_PACKAGE,
            syntax="proto3",
            dependency=[module.DESCRIPTOR.name for module in modules],
        )
        definition = file.service.add(name=service)
        for name, (request, response) in methods.items():
            definition.method.add(
                name=name,
                input_type=f".{_PACKAGE}.{request}",
                output_type=f".{_PACKAGE}.{response}",
            )
        pool.Add(file)
    return pool


def _copy(file: Any, pool: DescriptorPool, known: set[str]) -> None:
    if file.name in known:
        return
    known.add(file.name)
    for dependency in file.dependencies:
        _copy(dependency, pool, known)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    pool.Add(copy)
