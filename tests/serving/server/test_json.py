"""JSON to tensors and back: the fast way is the exact way, and the reasons are RapidJSON's."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server.contract import ServingError, Signature, TensorSpec
from serving.server.protos import types_pb2
from serving.server.rest import json_examples, json_tensors
from serving.server.rest.json_errors import why_not_json
from serving.server.rest.json_tensors import (
    parse_document,
    tensors_of_columns,
    tensors_of_rows,
)
from serving.server.rest.rows import RowReader, columns, predictions

DTYPES = (
    types_pb2.DT_FLOAT,
    types_pb2.DT_DOUBLE,
    types_pb2.DT_INT32,
    types_pb2.DT_INT64,
    types_pb2.DT_STRING,
    types_pb2.DT_BOOL,
    types_pb2.DT_UINT8,
)
VALUES = st.one_of(
    st.integers(-(2**65), 2**65),
    st.integers(-10, 10),
    st.floats(width=32),
    st.floats(),
    st.text(max_size=3),
    st.booleans(),
    st.none(),
    st.just({"b64": "YQ=="}),
)
ANY_JSON = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abx"), inner, max_size=3)
    ),
    max_leaves=6,
)


def signature_of(**dtypes: int) -> Signature:
    inputs = {name: TensorSpec(f"{name}:0", dtype, (-1,)) for name, dtype in dtypes.items()}
    return Signature("tensorflow/serving/predict", inputs, {}, {})


@st.composite
def questions(draw: st.DrawFn) -> tuple[Signature, Any]:
    """A signature, and rows or columns that mostly fit it."""
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
    dtypes = {name: draw(st.sampled_from(DTYPES)) for name in names}
    fitting = {
        types_pb2.DT_STRING: st.text(max_size=3),
        types_pb2.DT_BOOL: st.booleans(),
        types_pb2.DT_FLOAT: st.floats(-1e6, 1e6) | st.integers(-(2**25), 2**25),
        types_pb2.DT_DOUBLE: st.floats(allow_nan=False) | st.integers(-(2**54), 2**54),
    }
    shape = draw(st.sampled_from([(), (), (2,), (1, 2)]))

    def value(dtype: int) -> Any:
        made = st.one_of(*[fitting.get(dtype, st.integers(-(2**33), 2**33))] * 9, ANY_JSON)
        for size in reversed(shape):
            made = st.lists(made, min_size=size, max_size=size)
        return made

    rows = draw(
        st.lists(
            st.fixed_dictionaries({name: value(dtype) for name, dtype in dtypes.items()}),
            min_size=1,
            max_size=4,
        )
    )
    return signature_of(**dtypes), rows


def told(read: Any, *arguments: Any) -> Any:
    """What a way of reading says: arrays with dtypes and shapes, or its refusal."""
    try:
        tensors = read(*arguments)
    except ServingError as error:
        return error.code, error.message
    if tensors is None:
        return None
    return {name: (a.dtype, a.shape, repr(a.tolist())) for name, a in tensors.items()}


@given(questions())
def test_the_fast_way_says_what_the_exact_way_says_or_nothing(
    question: tuple[Signature, list[dict[str, Any]]],
) -> None:
    signature, rows = question
    reader = RowReader(signature)
    body = json.dumps({"instances": rows}).encode()
    rows = parse_document(body)["instances"]
    fast = told(reader.rows, body, rows)
    assert fast is None or fast == told(tensors_of_rows, rows, signature)
    values = {name: [row[name] for row in rows] for name in signature.inputs}
    fast = told(reader.columns, body, values)
    assert fast is None or fast == told(tensors_of_columns, values, signature)
    if len(signature.inputs) == 1:
        (plain,) = values.values()
        fast = told(reader.rows, body, plain)
        assert fast is None or fast == told(tensors_of_rows, plain, signature)


def test_the_fast_way_is_taken_for_ordinary_requests() -> None:
    signature = signature_of(
        a=types_pb2.DT_FLOAT, b=types_pb2.DT_FLOAT, i=types_pb2.DT_INT64, s=types_pb2.DT_STRING
    )
    row = {"a": 1, "b": -2.5, "i": 7, "s": "x"}
    reader = RowReader(signature)
    assert told(reader.rows, b"", [row, row]) == told(tensors_of_rows, [row, row], signature)
    sequence = {"a": [1, 2.5], "b": [1, 2.5], "i": [7, 8], "s": ["x", "y"]}
    assert told(reader.rows, b"", [sequence]) == told(tensors_of_rows, [sequence], signature)


def test_quotes_nothing_of_a_request_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """To write a document out takes longer than all else that is done for a request."""

    def quoted(value: Any) -> str:
        raise AssertionError(value)

    for module in (json_tensors, json_examples):
        monkeypatch.setattr(module, "quoted", quoted)
    assert json_tensors.request_values({"instances": [1]}) == ([1], True)
    assert json_tensors.request_values({"inputs": 1}) == (1, False)
    assert len(json_examples.examples_of_document({"examples": [{"x": 1.0}]})) == 1


def test_a_long_value_is_quoted_no_further_than_it_is_told() -> None:
    class Endless(list[int]):
        def __iter__(self) -> Any:
            return itertools.repeat(7)

    assert len(json_tensors.quoted(Endless([7]))) == 1025


@given(ANY_JSON, st.sampled_from(DTYPES))
def test_the_exact_way_refuses_or_reads_whatever_json_holds(value: Any, dtype: int) -> None:
    signature = signature_of(x=dtype)
    value = parse_document(json.dumps({"v": value}).encode())["v"]
    told(tensors_of_columns, value, signature)
    if type(value) is list and value:
        told(tensors_of_rows, value, signature)


@given(st.binary(max_size=30) | st.text('[]{}",:0123456789.eE+-truefalsnNIity \\"ud', max_size=30))
def test_a_reason_is_given_for_exactly_what_is_not_json(text: str | bytes) -> None:
    raw = text.encode() if isinstance(text, str) else text
    problem = why_not_json(raw)
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        if problem is None:  # only what RapidJSON takes and orjson does not
            words = (b"N", b"I", b"\xef\xbb\xbf", b"\x7f")
            assert any(word in raw for word in words) or not _is_utf8(raw)
        return
    assert problem is None


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "reason", "offset"),
    [
        (b"", "The document is empty.", 0),
        (b"{]", "Missing a name for object member.", 1),
        (b'{"a"}', "Missing a colon after a name of object member.", 4),
        (b'{"a":1', "Missing a comma or } after an object member.", 6),
        (b"[1 2]", "Missing a comma or ] after an array element.", 3),
        (b"[1,]", "Invalid value.", 3),
        (b"{} x", "The document root must not be followed by other values.", 3),
        (b'"\\x"', "Invalid escape character in string.", 1),
        (b'"abc', "Missing a closing quotation mark in string.", 4),
        (b'["a\nb"]', "Invalid encoding in string.", 3),
        (b'["\\u12g4"]', "Incorrect hex digit after \\u escape in string.", 2),
        (b'["\\ud800"]', "The surrogate pair in string is invalid.", 2),
        (b"[1.]", "Miss fraction part in number.", 3),
        (b"[1e+]", "Miss exponent in number.", 4),
        (b"[1e999]", "Number too big to be stored in double.", 1),
        (b"[tru]", "Invalid value.", 4),
        (b"[Na]", "Invalid value.", 3),
        (b"[" * 100_000, "Invalid value.", 100_000),
    ],
)
def test_reasons_are_rapidjsons(text: bytes, reason: str, offset: int) -> None:
    assert why_not_json(text) == (reason, offset)


@pytest.mark.parametrize("text", [b"[" * 900 + b"]" * 900, b'{"a":' * 5000 + b"1" + b"}" * 5000])
def test_depth_exhausts_nothing(text: bytes) -> None:
    body = b'{"inputs":' + text + b"}"
    signature = signature_of(x=types_pb2.DT_FLOAT)
    with pytest.raises(ServingError):
        tensors_of_columns(parse_document(body)["inputs"], signature)


def test_writes_the_shortest_number_that_reads_back() -> None:
    """TensorFlow Serving writes six digits, or nine; a float32 read from either is the same."""
    values = np.float32([0.1, 1 / 3, 1e-8, 16777216, 3])
    written = orjson.loads(predictions({"y": values}))["predictions"]
    assert np.float32(written).tolist() == values.tolist()
    assert predictions({"y": values[:1]}) == b'{"predictions":[0.1]}'


def test_writes_views_and_other_dtypes() -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert columns({"y": array.T}) == b'{"outputs":[[0,3],[1,4],[2,5]]}'
    assert columns({"y": np.float16([0.5])}) == b'{"outputs":[0.5]}'
    with pytest.raises(ServingError, match="Failed to write JSON value for tensor type: complex64"):
        columns({"y": np.complex64([1])})
    assert columns({"y": np.array([b"\xff"], object)}) == '{"outputs":["\ufffd"]}'.encode()
