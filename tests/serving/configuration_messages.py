"""The messages of TensorFlow Serving's start-up files that its Python package leaves out.

Built as its ``session_bundle_config.proto`` and ``monitoring_config.proto`` declare them: the same
names, numbers and types.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_OPTIONAL, _REPEATED = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
_INT64_VALUE = ".google.protobuf.Int64Value"

BATCHING_FIELDS = (
    ("max_batch_size", 1, _Field.TYPE_MESSAGE, _OPTIONAL, _INT64_VALUE),
    ("batch_timeout_micros", 2, _Field.TYPE_MESSAGE, _OPTIONAL, _INT64_VALUE),
    ("max_enqueued_batches", 3, _Field.TYPE_MESSAGE, _OPTIONAL, _INT64_VALUE),
    ("num_batch_threads", 4, _Field.TYPE_MESSAGE, _OPTIONAL, _INT64_VALUE),
    ("thread_pool_name", 5, _Field.TYPE_MESSAGE, _OPTIONAL, ".google.protobuf.StringValue"),
    ("allowed_batch_sizes", 6, _Field.TYPE_INT64, _REPEATED, ""),
    ("pad_variable_length_inputs", 7, _Field.TYPE_BOOL, _OPTIONAL, ""),
)
PROMETHEUS_FIELDS = (
    ("enable", 1, _Field.TYPE_BOOL, _OPTIONAL, ""),
    ("path", 2, _Field.TYPE_STRING, _OPTIONAL, ""),
)
MONITORING_FIELDS = (
    (
        "prometheus_config",
        1,
        _Field.TYPE_MESSAGE,
        _OPTIONAL,
        ".tensorflow.serving.PrometheusConfig",
    ),
)


def batching_parameters() -> Any:
    """An empty ``BatchingParameters``."""
    return _make("BatchingParameters")


def monitoring_config() -> Any:
    """An empty ``MonitoringConfig``."""
    return _make("MonitoringConfig")


def _make(name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="configuration.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for message, fields in (
        ("BatchingParameters", BATCHING_FIELDS),
        ("PrometheusConfig", PROMETHEUS_FIELDS),
        ("MonitoringConfig", MONITORING_FIELDS),
    ):
        declared = file.message_type.add(name=message)
        for field, number, kind, label, type_name in fields:
            declared.field.add(
                name=field, number=number, type=kind, label=label, type_name=type_name or None
            )
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
    )()
