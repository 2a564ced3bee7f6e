"""``TensorProto`` and numpy arrays, without TensorFlow."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from serving.server.contract import Code, ServingError
from serving.server.protos import tensor_pb2, types_pb2

Array: TypeAlias = npt.NDArray[Any]

NUMPY_TYPES: dict[int, np.dtype[Any]] = {
    types_pb2.DT_FLOAT: np.dtype(np.float32),
    types_pb2.DT_DOUBLE: np.dtype(np.float64),
    types_pb2.DT_INT32: np.dtype(np.int32),
    types_pb2.DT_UINT8: np.dtype(np.uint8),
    types_pb2.DT_INT16: np.dtype(np.int16),
    types_pb2.DT_INT8: np.dtype(np.int8),
    types_pb2.DT_STRING: np.dtype(object),
    types_pb2.DT_COMPLEX64: np.dtype(np.complex64),
    types_pb2.DT_INT64: np.dtype(np.int64),
    types_pb2.DT_BOOL: np.dtype(np.bool_),
    types_pb2.DT_UINT16: np.dtype(np.uint16),
    types_pb2.DT_COMPLEX128: np.dtype(np.complex128),
    types_pb2.DT_HALF: np.dtype(np.float16),
    types_pb2.DT_UINT32: np.dtype(np.uint32),
    types_pb2.DT_UINT64: np.dtype(np.uint64),
}
"""How numpy holds each ``DataType``; strings are objects of bytes."""

_MOST_DIMS = 32  # numpy's

_DATA_TYPES = {numpy_type: number for number, numpy_type in NUMPY_TYPES.items()}

_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
}


_LARGEST_FILLED = 1 << 28
"""The most bytes of a tensor whose values the message leaves out."""


def array_of(tensor: Any) -> Array:
    """Read a ``TensorProto`` as TensorFlow's ``Tensor::FromProto`` does.

    Values that are left out at the end repeat the last one, or are zero where there is none;
    values beyond the shape are ignored.

    Raises:
        ServingError: Its dtype has no array, its shape is none, or its content does not fill it.
    """
    numpy_type = NUMPY_TYPES.get(tensor.dtype)
    if numpy_type is None:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Tensors of dtype {tensor.dtype} are not supported."
        )
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    size = math.prod(shape)
    if tensor.tensor_shape.unknown_rank or (shape and min(shape) < 0) or len(shape) > _MOST_DIMS:
        raise _unfilled(tensor, shape)
    content = tensor.tensor_content
    if content:
        if tensor.dtype == types_pb2.DT_STRING:
            return _strings(tensor, shape, size)
        if len(content) != size * numpy_type.itemsize:
            raise _unfilled(tensor, shape)
        return np.frombuffer(content, numpy_type).reshape(shape)
    values = _values(tensor, numpy_type)
    missing = size - len(values)
    if missing > 0:
        if size * numpy_type.itemsize > _LARGEST_FILLED:
            raise _unfilled(tensor, shape)
        filler = values[-1:] if len(values) else np.array([_zero(numpy_type)], numpy_type)
        values = np.concatenate([values, np.repeat(filler, missing)])
    return (values if missing >= 0 else values[:size]).reshape(shape)


def proto_of(array: Array) -> Any:
    """Write a ``TensorProto`` with its values as content, which is short and quick to read."""
    tensor = tensor_pb2.TensorProto(dtype=_DATA_TYPES[array.dtype])
    for size in array.shape:
        tensor.tensor_shape.dim.add().size = size
    if array.dtype == object:
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.tensor_content = array.tobytes()
    return tensor


def write_fields(array: Array, tensor: Any) -> None:
    """Write an array into an empty ``TensorProto`` by typed fields, as TensorFlow Serving answers.

    Args:
        array: The array.
        tensor: The message.
    """
    dtype = tensor.dtype = _DATA_TYPES[array.dtype]
    dimensions = tensor.tensor_shape.dim
    for size in array.shape:
        dimensions.add(size=size)
    if array.dtype.kind == "c":
        array = array.ravel().view(array.real.dtype)
    elif array.dtype == np.float16:
        array = array.view(np.uint16)
    getattr(tensor, _FIELDS.get(dtype, "int_val")).extend(array.ravel().tolist())


def _values(tensor: Any, numpy_type: np.dtype[Any]) -> Array:
    field = getattr(tensor, _FIELDS.get(tensor.dtype, "int_val"))
    if tensor.dtype == types_pb2.DT_HALF:
        return np.array(field, np.int64).astype(np.uint16).view(np.float16)
    if tensor.dtype in (types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128):
        parts = np.array(field[: len(field) // 2 * 2], numpy_type.type(0).real.dtype)
        return parts.view(numpy_type)
    if numpy_type.itemsize < 4 and tensor.dtype != types_pb2.DT_BOOL:
        # A 32-bit value is cut to the narrow type, as a C++ cast does.
        return np.array(field, np.int64).astype(numpy_type)
    return np.fromiter(field, numpy_type, len(field))


def _strings(tensor: Any, shape: list[int], size: int) -> Array:
    """Read strings that are content: all their lengths as varints, then their bytes."""
    content, at, lengths = tensor.tensor_content, 0, []
    for _ in range(min(size, len(content) + 1)):
        length = shift = 0
        while True:
            if at >= len(content) or shift > 28:
                raise _unfilled(tensor, shape)
            byte = content[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if len(lengths) != size or at + sum(lengths) != len(content):
        raise _unfilled(tensor, shape)
    array = np.empty(size, object)
    for index, length in enumerate(lengths):
        array[index] = content[at : at + length]
        at += length
    return array.reshape(shape)


def _zero(numpy_type: np.dtype[Any]) -> Any:
    return b"" if numpy_type.hasobject else 0


def _unfilled(tensor: Any, shape: list[int]) -> ServingError:
    return ServingError(
        Code.INVALID_ARGUMENT,
        f"The values of a tensor do not fill its shape {shape} "
        f"({types_pb2.DataType.Name(tensor.dtype)}).",
    )
