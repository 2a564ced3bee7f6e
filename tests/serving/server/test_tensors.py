"""``TensorProto`` as TensorFlow's ``Tensor::FromProto`` reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server.contract import ServingError
from serving.server.protos import tensor_pb2, types_pb2
from serving.server.tensors import NUMPY_TYPES, array_of, proto_of, write_fields


def tensor(dtype: int, *shape: int, **fields: Any) -> Any:
    message = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (tensor(1, 3, float_val=[1.5]), np.float32([1.5, 1.5, 1.5])),
        (tensor(1, 3, float_val=[1.5, 2]), np.float32([1.5, 2, 2])),
        (tensor(1, 2, float_val=[1, 2, 3]), np.float32([1, 2])),
        (tensor(1, 2), np.float32([0, 0])),
        (tensor(7, 2), np.array([b"", b""], object)),
        (tensor(1, float_val=[1.5]), np.float32(1.5)),
        (tensor(1, 0), np.float32([])),
        (tensor(6, 1, int_val=[300]), np.int8([44])),
        (tensor(19, 1, half_val=[0x3C00]), np.float16([1])),
        (tensor(8, 1, scomplex_val=[1, 2]), np.complex64([1 + 2j])),
        (tensor(7, 2, tensor_content=b"\x01\x00a"), np.array([b"a", b""], object)),
        (tensor(3, 2, tensor_content=b"\x01\0\0\0\xff\xff\xff\xff"), np.int32([1, -1])),
    ],
)
def test_reads_what_a_message_leaves_out(message: Any, expected: Any) -> None:
    array = array_of(message)
    assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
    assert array.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (tensor(20, 1), "Tensors of dtype 20 are not supported."),
        (tensor(1, -1, float_val=[1]), "The values of a tensor do not fill its shape [-1]"),
        (tensor(1, 2, tensor_content=b"abc"), "The values of a tensor do not fill its shape [2]"),
        (tensor(1, 10**9, float_val=[1]), "do not fill its shape [1000000000] (DT_FLOAT)."),
        (tensor(7, 2, tensor_content=b"\x05a"), "do not fill its shape [2] (DT_STRING)."),
        (tensor(7, 1, tensor_content=b"\xff\xff\xff\xff\xff\xff"), "(DT_STRING)."),
        (tensor(1, *[1] * 40, float_val=[1]), "do not fill its shape [1, 1, 1,"),
    ],
)
def test_refuses_what_is_no_tensor(message: Any, reason: str) -> None:
    with pytest.raises(ServingError) as caught:
        array_of(message)
    assert reason in caught.value.message


@given(st.data())
def test_writes_and_reads_every_array(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(sorted(NUMPY_TYPES)))
    shape = data.draw(st.lists(st.integers(0, 3), max_size=3))
    size = int(np.prod(shape))
    if dtype == types_pb2.DT_STRING:
        array = np.empty(size, object)
        array[:] = data.draw(st.lists(st.binary(max_size=5), min_size=size, max_size=size))
    else:
        kind = NUMPY_TYPES[dtype]
        raw = data.draw(st.binary(min_size=size * kind.itemsize, max_size=size * kind.itemsize))
        array = (
            np.frombuffer(raw, np.uint8) % 2 == 1 if kind.kind == "b" else np.frombuffer(raw, kind)
        )
    array = array.reshape(shape)
    by_fields = tensor_pb2.TensorProto()
    write_fields(array, by_fields)
    for message in (proto_of(array), by_fields):
        read = array_of(type(message).FromString(message.SerializeToString()))
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        if array.dtype.kind in "fc":  # a NaN keeps being one, its bits are nobody's business
            np.testing.assert_array_equal(read, array)
        else:
            assert read.tolist() == array.tolist()
