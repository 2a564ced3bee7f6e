"""SavedModels written by hand, without TensorFlow: ``y = x / 2 + version``."""

from __future__ import annotations

from pathlib import Path

from serving.server.protos import saved_model_pb2, types_pb2

MODEL = "tiny"


def write_version(base: Path, version: int) -> Path:
    """Publish a version: complete before it has its number."""
    document = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta = document.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    graph = meta.graph_def
    graph.versions.producer = 1645
    x = graph.node.add(name="x", op="Placeholder")
    x.attr["dtype"].type = types_pb2.DT_FLOAT
    x.attr["shape"].shape.dim.add(size=-1)
    for name, value in (("half", 0.5), ("version", float(version))):
        constant = graph.node.add(name=name, op="Const")
        constant.attr["dtype"].type = types_pb2.DT_FLOAT
        tensor = constant.attr["value"].tensor
        tensor.dtype = types_pb2.DT_FLOAT
        tensor.tensor_shape.SetInParent()
        tensor.float_val.append(value)
    for name, op, inputs in (
        ("product", "Mul", ("x", "half")),
        ("y", "AddV2", ("product", "version")),
    ):
        node = graph.node.add(name=name, op=op, input=inputs)
        node.attr["T"].type = types_pb2.DT_FLOAT
    signature = meta.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    for tensors, name in ((signature.inputs, "x"), (signature.outputs, "y")):
        info = tensors[name]
        info.name, info.dtype = f"{name}:0", types_pb2.DT_FLOAT
        info.tensor_shape.dim.add(size=-1)
    incoming = base / f"incoming-{version}"
    incoming.mkdir(parents=True)
    (incoming / "saved_model.pb").write_bytes(document.SerializeToString())
    return incoming.rename(base / str(version))
