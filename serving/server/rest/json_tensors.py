"""JSON to tensors exactly as TensorFlow Serving's ``json_tensor.cc`` does it, refusals included.

This is the definition. :mod:`serving.server.rest.rows` does the ordinary cases a hundred times
faster and leaves every other one to this module. A refusal quotes the value, as there; it goes
to the caller who sent the value, and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from serving.server.contract import Code, ServingError, Signature, TensorSpec
from serving.server.protos import types_pb2
from serving.server.rest.json_errors import why_not_json
from serving.server.tensors import NUMPY_TYPES

_DEEPEST = 254  # the most dimensions that a tensor may have
_LONGEST_QUOTE = 1024
_LARGEST_INTEGER = {types_pb2.DT_FLOAT: 2**24 - 1, types_pb2.DT_DOUBLE: 2**53 - 1}
_LARGEST = {
    types_pb2.DT_FLOAT: float(np.finfo(np.float32).max),
    types_pb2.DT_DOUBLE: float(np.finfo(np.float64).max),
}
_INT32 = (-(2**31), 2**31 - 1)
_INTEGERS = {
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_INT16: _INT32,
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_INT64: (-(2**63), 2**63 - 1),
    types_pb2.DT_UINT32: (0, 2**32 - 1),
    types_pb2.DT_UINT64: (0, 2**64 - 1),
}
_TYPES = {
    type(None): "Null",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|\bInf\b')


def refuse(message: str) -> ServingError:
    """Make the refusal of an argument."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def parse_document(body: bytes) -> dict[str, Any]:
    """Read a request's JSON, in which ``NaN``, ``Inf`` and ``Infinity`` are legal.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: it is no JSON, or no object.
    """
    if not body:
        raise refuse("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _lenient(body)
    if type(document) is not dict:
        raise refuse(f"JSON Value: {quoted(document)} Is not object")
    return document


def _lenient(body: bytes) -> Any:
    problem = why_not_json(body)
    if problem is not None:
        raise refuse(f"JSON Parse error: {problem[0]} at offset: {problem[1]}")
    try:
        text = body.decode("utf-8-sig")
        return json.loads(
            _TOKENS.sub(lambda m: "Infinity" if m[0] == "Inf" else m[0], text), parse_int=_integer
        )
    except UnicodeDecodeError as fault:
        raise refuse(
            f"JSON Parse error: Invalid encoding in string. at offset: {fault.start}"
        ) from None
    except RecursionError:
        raise refuse("JSON Parse error: nested too deeply") from None


def _integer(digits: str) -> int | float:
    value = float(digits)
    return int(digits) if -(2.0**63) <= value < 2.0**64 else value


def signature_name(document: Mapping[str, Any]) -> str:
    """Read the signature's name; "" where there is none.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: it is not a string.
    """
    name = document.get("signature_name", "")
    if type(name) is not str:
        raise refuse(
            f"JSON Value: {quoted(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def request_values(document: Mapping[str, Any]) -> tuple[Any, bool]:
    """Find the values of a Predict request.

    Returns:
        The values, and whether they are rows (``instances``).

    Raises:
        ServingError: ``INVALID_ARGUMENT``: both or neither format is there, or no row.
    """
    if "instances" not in document:
        if "inputs" not in document:
            raise refuse("Missing 'inputs' or 'instances' key")
        return document["inputs"], False
    instances = document["instances"]
    if "inputs" in document:
        problem = (
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    elif type(instances) is not list:
        problem = "Excepting 'instances' to be an list/array"
    elif not instances:
        problem = "No values in 'instances' array"
    else:
        return instances, True
    raise refuse(f"JSON Value: {quoted(document)} {problem}")


def tensors_of_rows(rows: list[Any], signature: Signature) -> dict[str, Any]:
    """Make tensors of ``instances``.

    Raises:
        ServingError: In TensorFlow Serving's words.
    """
    inputs = signature.inputs
    if len(inputs) > 1 and type(rows[0]) is not dict:
        raise refuse(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    gathered: dict[str, _Gathered] = {}
    are_objects = _is_object(rows[0])
    for index, row in enumerate(rows):
        if _is_object(row) != are_objects:
            expected, got = ("object", "list") if are_objects else ("value/list", "object")
            raise refuse(f"Expecting {expected} but got {got} at item {index} of input list")
        if not are_objects:
            name = next(iter(inputs))
            with _located(f"Failed to process element: {index}"):
                _add(row, name, inputs, gathered)
            continue
        for name, value in row.items():
            with _located(f"Failed to process element: {index} key: {name}"):
                _add(value, name, inputs, gathered)
        if set(row) | set(signature.defaults) < set(inputs) or row.keys() != rows[0].keys():
            raise refuse(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{quoted(row)} keys must be equal to: {','.join(sorted(inputs))}"
            )
    return {
        name: _array(column.values, (len(rows), *column.shape), inputs[name])
        for name, column in gathered.items()
    }


def tensors_of_columns(values: Any, signature: Signature) -> dict[str, Any]:
    """Make tensors of ``inputs``.

    Raises:
        ServingError: In TensorFlow Serving's words.
    """
    inputs = signature.inputs
    if not _is_object(values):
        if len(inputs) > 1:
            raise refuse(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        name, spec = next(iter(inputs.items()))
        return {name: _tensor(values, name, spec)}
    tensors = {}
    for name, spec in inputs.items():
        if name in values:
            tensors[name] = _tensor(values[name], name, spec)
        elif name not in signature.defaults:
            raise refuse(f"Missing named input: {name} in 'inputs' object.")
    return tensors


@dataclass
class _Gathered:
    shape: tuple[int, ...]
    size: int
    values: list[Any]


class _located:  # noqa: N801 - reads as a clause
    """Says where among the rows a refusal arose."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, ServingError):
            raise refuse(
                f"{self._where} of 'instances' list. Error: {error.code.name}: {error.message}"
            ) from None


def _add(
    value: Any, name: str, inputs: Mapping[str, TensorSpec], gathered: dict[str, _Gathered]
) -> None:
    if name not in inputs:
        raise refuse(f"JSON object: does not have named input: {name}")
    shape = _shape(value, name)
    values = list(_fill(value, 0, shape, inputs[name].dtype))
    column = gathered.get(name)
    if column is None:
        gathered[name] = _Gathered(shape, len(values), values)
        return
    if column.size != len(values):
        raise refuse(f"Expecting tensor size: {column.size} but got: {len(values)}")
    if column.shape != shape:
        raise refuse(f"Expecting shape {_brackets(column.shape)} but got: {_brackets(shape)}")
    column.values.extend(values)


def _tensor(value: Any, name: str, spec: TensorSpec) -> Any:
    shape = _shape(value, name)
    return _array(list(_fill(value, 0, shape, spec.dtype)), shape, spec)


def _array(values: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> Any:
    numpy_type = NUMPY_TYPES[spec.dtype]
    if spec.dtype in (types_pb2.DT_INT8, types_pb2.DT_UINT8, types_pb2.DT_INT16):
        # A 32-bit value is cut to the narrow type, as a C++ cast does.
        return np.array(values, np.int64).astype(numpy_type).reshape(shape)
    array = np.empty(len(values), numpy_type)
    array[:] = values
    return array.reshape(shape)


def _shape(value: Any, name: str) -> tuple[int, ...]:
    shape: list[int] = []
    while type(value) is list:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    if len(shape) > _DEEPEST:
        raise refuse(f"tensor parsing error: {name}")
    return tuple(shape)


def _fill(value: Any, level: int, shape: tuple[int, ...], dtype: int) -> Iterator[Any]:
    if type(value) is not list:
        if level != len(shape):
            raise refuse(
                f"JSON Value: {quoted(value)} found at incorrect level: {level + 1} "
                f"in the JSON DOM. Expected at level: {len(shape)}"
            )
        yield _scalar(value, dtype)
        return
    if level >= len(shape):
        raise refuse(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise refuse(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for item in value:
        yield from _fill(item, level + 1, shape, dtype)


def _scalar(value: Any, dtype: int) -> Any:
    kind = type(value)
    if kind is dict:
        if dtype != types_pb2.DT_STRING:
            raise _type_error(value, dtype)
        return decoded_base64(value)
    if dtype in _LARGEST:
        if kind is not int and kind is not float:
            raise _type_error(value, dtype)
        if _is_lossy(value, dtype):
            target = dtype_name(dtype)
            raise refuse(
                f"Cannot convert JSON value: {quoted(value)} to {target} without loss of precision."
            )
        return value
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        if kind is not int or not low <= value <= high:
            raise _type_error(value, dtype)
        return value
    if dtype == types_pb2.DT_STRING:
        if kind is not str:
            raise _type_error(value, dtype)
        return value.encode("utf-8", "surrogatepass")
    if dtype == types_pb2.DT_BOOL:
        if kind is not bool:
            raise _type_error(value, dtype)
        return value
    raise ServingError(
        Code.UNIMPLEMENTED,
        f"Conversion of JSON Value: {quoted(value)} to type: {dtype_name(dtype)}",
    )


def _is_lossy(value: float, dtype: int) -> bool:
    if type(value) is int:
        return abs(value) > _LARGEST_INTEGER[dtype]
    return math.isfinite(value) and abs(value) > _LARGEST[dtype]


def _type_error(value: Any, dtype: int) -> ServingError:
    return refuse(
        f"JSON Value: {quoted(value)} Type: {type_name(value)} "
        f"is not of expected type: {dtype_name(dtype)}"
    )


def is_base64(value: Any) -> bool:
    """Tell whether a JSON value is ``{"b64": "…"}``."""
    return type(value) is dict and len(value) == 1 and type(value.get("b64")) is str


def decoded_base64(value: Any) -> bytes:
    """Decode ``{"b64": "…"}``, with or without padding.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: it is not of this form, or no base64.
    """
    if not is_base64(value):
        raise refuse(f"JSON Value: {quoted(value)} not formatted correctly for base64 data")
    text = value["b64"].rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise refuse("Unable to base64 decode") from None


def _is_object(value: Any) -> bool:
    return type(value) is dict and not is_base64(value)


def type_name(value: Any) -> str:
    """Name a JSON value's type as RapidJSON does."""
    return str(value) if type(value) is bool else _TYPES[type(value)]


def dtype_name(dtype: int) -> str:
    """Name a dtype as TensorFlow does (``float``, ``int64``)."""
    try:
        return str(types_pb2.DataType.Name(dtype)).removeprefix("DT_").lower()
    except ValueError:
        return f"unknown dtype enum ({dtype})"


def quoted(value: Any) -> str:
    """Write a JSON value for a refusal: indented by four, and cut where it is long."""
    if type(value) is float:
        return _decimal(value)
    text = ""
    try:
        for part in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
            text += part
            if len(text) > _LONGEST_QUOTE:
                return text[:_LONGEST_QUOTE] + "…"
    except RecursionError:
        return "(nested too deeply)"
    return text


def _decimal(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    is_single = abs(value) <= _LARGEST[types_pb2.DT_FLOAT]
    held = float(np.float32(value)) if is_single else value
    text = f"{held:.6g}"
    if (float(np.float32(text)) if is_single else float(text)) != held:
        text = f"{held:.{9 if is_single else 17}g}"
    return text if "." in text or "e" in text else text + ".0"


def _brackets(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
