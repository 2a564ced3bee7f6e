"""SavedModels with something wrong, and libraries that serve SavedModels."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np

from serving.server.models import ModelLibrary, ModelOptions, open_models
from serving.server.protos import (
    predict_pb2,
    prediction_log_pb2,
    saved_model_pb2,
    types_pb2,
)
from serving.server.tensors import Array, proto_of
from serving.warmup import WARMUP_FILE
from tests.serving.server.tiny_models import MODEL

P = ParamSpec("P")
ONE = np.float32([1])


def asynchronous(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run a test on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))  # type: ignore[arg-type]

    return run


@contextlib.asynccontextmanager
async def serving_models(source: Path, cache: Path, **options: Any) -> AsyncIterator[ModelLibrary]:
    """Serve models until the block ends; without conversions where nothing else is said."""
    options = {"is_converting": False, "retry_seconds": 0.01, **options}
    library = await open_models(source, options=ModelOptions(cache, **options))
    try:
        yield library
    finally:
        await library.close()


async def look(library: ModelLibrary) -> None:
    """Look at the disk and wait for what follows."""
    await library.poll()
    await library.settle()


async def answer(
    library: ModelLibrary, version: int | None = None, label: str | None = None
) -> Any:
    """Ask the tiny model: half of 1, and the number of the version that answers."""
    servable = library.find(MODEL, version, label)
    return (await servable.run("serving_default", {"x": ONE}))["y"].tolist()


def write_config(file: Path, base: Path, policy: str, labels: Mapping[str, int] = {}) -> None:
    """Write a ``models.config`` of the tiny model."""
    written = "".join(
        f'version_labels {{ key: "{label}" value: {number} }} ' for label, number in labels.items()
    )
    file.write_text(
        f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{base}" '
        f'model_platform: "tensorflow" model_version_policy {{ {policy} }} {written}}} }}'
    )


@contextlib.contextmanager
def edited(version: Path) -> Iterator[Any]:
    """Change the meta graph of a version."""
    file = version / "saved_model.pb"
    document = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    yield document.meta_graphs[0]
    file.write_bytes(document.SerializeToString())


def node_named(graph: Any, name: str) -> Any:
    """Find a node."""
    return next(node for node in graph.graph_def.node if node.name == name)


def lose_variable(version: Path) -> None:
    """Read a variable that nothing restores, as Keras 3 saved by ``tf.saved_model.save`` does."""
    with edited(version) as graph:
        handle = graph.graph_def.node.add(name="kernel", op="VarHandleOp")
        handle.attr["dtype"].type = types_pb2.DT_FLOAT
        handle.attr["shape"].shape.SetInParent()
        handle.attr["shared_name"].s = b"kernel"
        read = graph.graph_def.node.add(name="read", op="ReadVariableOp", input=["kernel"])
        read.attr["dtype"].type = types_pb2.DT_FLOAT
        node_named(graph, "y").input[1] = "read"


def recurse_for_ever(version: Path) -> None:
    """Call a function that calls itself: TensorFlow's stack ends, and its process with it."""
    with edited(version) as graph:
        function = graph.graph_def.library.function.add()
        function.signature.name = "again"
        function.signature.input_arg.add(name="x", type=types_pb2.DT_FLOAT)
        function.signature.output_arg.add(name="y", type=types_pb2.DT_FLOAT)
        function.ret["y"] = "call:output:0"
        node = node_named(graph, "y")
        del node.input[:]
        node.attr.clear()
        for call in (function.node_def.add(name="call"), node):
            call.op = "StatefulPartitionedCall"
            call.input.append("product" if call is node else "x")
            call.attr["f"].func.name = "again"
            for place in ("Tin", "Tout"):
                call.attr[place].list.type.append(types_pb2.DT_FLOAT)


def warm_up_with(*inputs: Mapping[str, Array]) -> Callable[[Path], None]:
    """Ask a version these requests before callers may."""

    def write(version: Path) -> None:
        records = b""
        for values in inputs:
            request = predict_pb2.PredictRequest()
            for name, value in values.items():
                request.inputs[name].CopyFrom(proto_of(value))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            ).SerializeToString()
            records += struct.pack("<Q", len(log)) + bytes(4) + log + bytes(4)
        (version / WARMUP_FILE).parent.mkdir(exist_ok=True)
        (version / WARMUP_FILE).write_bytes(records)

    return write
