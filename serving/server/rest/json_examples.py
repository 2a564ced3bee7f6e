"""JSON to ``tf.Example`` as TensorFlow Serving's ``json_tensor.cc`` does it, refusals included."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.server.contract import ServingError
from serving.server.protos import example_pb2
from serving.server.rest.json_tensors import (
    decoded_base64,
    is_base64,
    quoted,
    refuse,
    type_name,
)

_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_LARGEST_INTEGER = 2**63 - 1
_KIND_NAMES = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def examples_of_document(document: Mapping[str, Any]) -> list[bytes]:
    """Read the ``examples`` of a request, and its ``context`` before each of them.

    Returns:
        Each serialised.

    Raises:
        ServingError: In TensorFlow Serving's words.
    """
    context = _example(document["context"]) if "context" in document else b""
    examples = document.get("examples")
    if "examples" not in document:
        problem = "When method is classify, key 'examples' is expected and was not found"
    elif type(examples) is not list:
        problem = "Expecting 'examples' value to be an list/array"
    elif not examples:
        problem = "'examples' value is an empty array"
    else:
        return [context + _example(example) for example in examples]
    raise refuse(f"JSON Value: {quoted(document)} {problem}")


def _example(value: Any) -> bytes:
    if type(value) is not dict:
        raise refuse(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        feature = example.features.feature[name]
        feature.SetInParent()
        for item in content if type(content) is list else [content]:
            _add(item, name, feature)
    return bytes(example.SerializeToString())


def _add(value: Any, name: str, feature: Any) -> None:
    kind, held = _held(value, name)
    if feature.WhichOneof("kind") not in (None, kind):
        raise refuse(
            f"Unexpected element type in feature: {name} "
            f"expecting type: {_KIND_NAMES[feature.WhichOneof('kind')]}"
        )
    getattr(feature, kind).value.append(held)


def _held(value: Any, name: str) -> tuple[str, Any]:
    kind = type(value)
    if kind is bool:
        return "int64_list", int(value)
    if kind is str:
        return "bytes_list", value.encode("utf-8", "surrogatepass")
    if kind is int:
        if value > _LARGEST_INTEGER:
            raise refuse(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64_list", value
    if kind is float:
        if math.isfinite(value) and abs(value) > _LARGEST_FLOAT:
            raise _lossy(value)
        return "float_list", value
    if is_base64(value):
        return "bytes_list", decoded_base64(value)
    raise refuse(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _lossy(value: float) -> ServingError:
    return refuse(f"Cannot convert JSON value: {quoted(value)} to float without loss of precision.")
