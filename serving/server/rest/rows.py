"""JSON to tensors and back at full speed, for ordinary requests.

numpy reads whole columns; that it is laxer than TensorFlow Serving (it takes ``"1"`` and ``true``
for numbers) is met by letting it infer the type first. Whatever is not plainly right is left to
:mod:`serving.server.rest.json_tensors`, by answering None: that module decides, refuses and words.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from serving.server.contract import Signature, Tensors
from serving.server.protos import types_pb2
from serving.server.rest.json_tensors import refuse
from serving.server.tensors import NUMPY_TYPES

_LARGEST_SQUARES = {types_pb2.DT_FLOAT: (2.0**24 - 1) ** 2, types_pb2.DT_DOUBLE: (2.0**53 - 1) ** 2}
_KINDS = {
    types_pb2.DT_FLOAT: "fi",
    types_pb2.DT_DOUBLE: "fi",
    types_pb2.DT_INT32: "i",
    types_pb2.DT_INT64: "i",
}
_MOST_DIMENSIONS = 8
_BETWEEN_ROWS = {1: b",", 2: b"],["}
"""What JSON has between the rows of numbers of a rank, and nowhere in them."""
_BYTES_SUFFIX = "_bytes"


class RowReader:
    """Reads requests to one signature.

    Args:
        signature: The signature.
    """

    def __init__(self, signature: Signature) -> None:
        self._inputs = signature.inputs
        by_kind = sorted(signature.inputs, key=lambda name: self._group(name))
        # Columns of one dtype and shape become one array, which costs one call in place of many.
        self._groups = [
            (kind[0], tuple(names)) for kind, names in itertools.groupby(by_kind, self._group)
        ]
        self._is_supported = all(
            spec.dtype in _KINDS or spec.dtype == types_pb2.DT_STRING
            for spec in signature.inputs.values()
        )

    def _group(self, name: str) -> tuple[int, tuple[int, ...]]:
        spec = self._inputs[name]
        return spec.dtype, spec.shape or ()

    def rows(self, body: bytes, rows: list[Any]) -> Tensors | None:
        """Make tensors of ``instances``.

        Args:
            body: The JSON.
            rows: The rows in it; at least one.

        Returns:
            The tensors; None where the exact way has to decide.
        """
        if not self._is_plain(body):
            return None
        return self._tensors(rows)

    def many(self, bodies: Sequence[bytes]) -> tuple[Tensors, list[int]]:
        """Make tensors of the ``instances`` of several requests, one below the other.

        Args:
            bodies: Their JSON.

        Returns:
            The tensors, none where the requests do not fit together, and how many rows each request
            has in them: 0 where it asks for more than that or the exact way has to decide.
        """
        if not self._is_supported:
            return {}, [0] * len(bodies)
        try:
            documents = list(map(orjson.loads, bodies))
        except orjson.JSONDecodeError:
            documents = list(map(_document, bodies))
        is_suspect = _has_booleans(b"".join(bodies))
        requests = [
            document["instances"]
            if type(document) is dict
            and len(document) == 1
            and type(document.get("instances")) is list
            and not (is_suspect and _has_booleans(body))
            else []
            for document, body in zip(documents, bodies, strict=True)
        ]
        rows = list(itertools.chain.from_iterable(requests))
        tensors = self._tensors(rows) if rows else None
        return tensors or {}, list(map(len, requests))

    def _tensors(self, rows: list[Any]) -> Tensors | None:
        if type(rows[0]) is not dict:
            if len(self._inputs) != 1:
                return None
            (name,) = self._inputs
            array = _array(rows, self._inputs[name].dtype)
            return None if array is None else {name: array}
        size = len(self._inputs)
        tensors: dict[str, Any] = {}
        try:
            for row in rows:
                if len(row) != size:
                    return None
            for dtype, names in self._groups:
                block = _array([[row[name] for row in rows] for name in names], dtype)
                if block is None:
                    return None
                tensors.update(zip(names, block, strict=True))
        except (KeyError, TypeError):
            return None
        return tensors

    def columns(self, body: bytes, values: Any) -> Tensors | None:
        """Make tensors of ``inputs``; None where the exact way has to decide."""
        if not self._is_plain(body):
            return None
        if type(values) is not dict:
            if len(self._inputs) != 1:
                return None
            (name,) = self._inputs
            values = {name: values}
        tensors = {}
        for name, spec in self._inputs.items():
            array = _array(values.get(name), spec.dtype)
            if array is None:
                return None
            tensors[name] = array
        return tensors

    def _is_plain(self, body: bytes) -> bool:
        return self._is_supported and not _has_booleans(body)


def _has_booleans(body: bytes) -> bool:
    """Tell whether there may be booleans, which numpy among numbers takes for 0 and 1."""
    # A letter is found five times as fast as a word.
    return (b"u" in body and b"true" in body) or (b"f" in body and b"false" in body)


def _document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _array(values: Any, dtype: int) -> Any:
    if type(values) is not list:
        return None
    if dtype == types_pb2.DT_STRING:
        return _strings(values)
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        return None  # ragged
    if array.dtype.kind not in _KINDS[dtype] or array.ndim > _MOST_DIMENSIONS or not array.size:
        return None
    largest = _LARGEST_SQUARES.get(dtype)
    if largest is not None:
        # The sum of squares bounds every value, and is one call of numpy in place of three.
        flat = array.ravel()
        if array.dtype.kind == "i":
            flat = flat.astype(np.float64)
        if not flat.dot(flat) <= largest:
            return None
    elif dtype == types_pb2.DT_INT32 and not (array.min() >= -(2**31) and array.max() < 2**31):
        return None
    numpy_type = NUMPY_TYPES[dtype]
    return array if array.dtype == numpy_type else array.astype(numpy_type)


def _strings(values: list[Any]) -> Any:
    if not values:
        return None
    shape: tuple[int, ...] = (len(values),)
    while type(values[0]) is list:
        size = len(values[0])
        if not size or any(type(value) is not list or len(value) != size for value in values):
            return None
        shape = (*shape, size)
        values = list(itertools.chain.from_iterable(values))
    try:
        texts = list(map(str.encode, values))
    except (TypeError, UnicodeEncodeError):
        return None
    array = np.empty(len(texts), object)
    array[:] = texts
    return array.reshape(shape)


def predictions(outputs: Tensors) -> bytes:
    """Write the answer to rows: ``{"predictions": [...]}``, a lone output unwrapped.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: the outputs are no batch.
    """
    sizes = []
    for name, array in outputs.items():
        if not array.ndim:
            raise refuse(f"Tensor name: {name} has no shape information ")
        sizes.append(len(array))
        if sizes[-1] != sizes[0]:
            raise refuse(
                f"Tensor name: {name} has inconsistent batch size: {sizes[-1]} "
                f"expecting: {sizes[0]}"
            )
    if len(outputs) == 1:
        return _written({"predictions": _lone(outputs)})
    columns = {name: _jsonable(name, array) for name, array in outputs.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _written({"predictions": rows})


def predictions_of_each(outputs: Tensors, ends: Sequence[int]) -> list[bytes]:
    """Write for each of several requests what :func:`predictions` writes for its rows.

    Args:
        outputs: The requests' rows, one below the other.
        ends: Where the rows of each end.

    Raises:
        ServingError: As by :func:`predictions`.
    """
    spans = list(zip((0, *ends), ends, strict=False))
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        if array.ndim in _BETWEEN_ROWS and array.dtype.kind in "fiu":
            # A table is written once and its text cut between the rows.
            text = orjson.dumps(_jsonable(name, array), option=orjson.OPT_SERIALIZE_NUMPY)
            if b"null" not in text:
                between = _BETWEEN_ROWS[array.ndim]
                first, last = b'{"predictions":' + b"[" * array.ndim, b"]" * array.ndim + b"}"
                rows = text[array.ndim : -array.ndim].split(between)
                if len(rows) > len(spans):
                    rows = [between.join(rows[start:end]) for start, end in spans]
                return [b"%b%b%b" % (first, row, last) for row in rows]
    return [predictions(cut(outputs, start, end)) for start, end in spans]


def cut(tensors: Tensors, start: int, end: int) -> Tensors:
    """Take some of the rows."""
    return {name: array[start:end] for name, array in tensors.items()}


def columns(outputs: Tensors) -> bytes:
    """Write the answer to columns: ``{"outputs": ...}``, a lone output unwrapped."""
    if len(outputs) == 1:
        return _written({"outputs": _lone(outputs)})
    return _written({"outputs": {n: _jsonable(n, a) for n, a in outputs.items()}})


def results(values: Sequence[Any]) -> bytes:
    """Write the answer of classify or regress: ``{"results": [...]}``."""
    return _written({"results": values})


def _lone(outputs: Tensors) -> Any:
    ((name, array),) = outputs.items()
    return _jsonable(name, array)


def _jsonable(name: str, array: Any) -> Any:
    kind = array.dtype.kind
    if kind != "O":
        if kind not in "fiub":
            raise refuse(f"Failed to write JSON value for tensor type: {array.dtype.name}")
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)
    if name.endswith(_BYTES_SUFFIX):
        return _mapped(array, lambda text: {"b64": base64.b64encode(text).decode()})
    return _mapped(array, lambda text: text.decode("utf-8", "replace"))


def _mapped(array: Any, change: Any) -> Any:
    changed = np.empty(array.shape, object)
    changed.ravel()[:] = [change(text) for text in array.ravel()]
    return changed.tolist()


def _written(answer: Mapping[str, Any]) -> bytes:
    text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes what is not finite as null; no answer has a null of its own, a text may.
    if b"null" in text:
        return json.dumps(answer, default=_plain, ensure_ascii=False).encode()
    return text


def _plain(value: Any) -> Any:
    """Write numpy values for ``json``, which writes NaN and Infinity as those words."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.floating):
        return float(str(value))  # the shortest text that reads back as this value
    return value.item()
