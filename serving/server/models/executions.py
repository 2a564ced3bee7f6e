"""The ways to run a signature beside TensorFlow's own: TFLite and ONNX Runtime.

Both are extension modules that need no TensorFlow; neither is imported before a version uses it.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.server.contract import Code, ServingError
from serving.server.models.runtime import Function
from serving.server.protos import without_tensorflow
from serving.server.tensors import Array

GRAPH = "graph"
TFLITE = "tflite"
ONNX = "onnx"

_LARGEST_BUCKET = 64
_MOST_INTERPRETERS = 16


def open_converted(
    execution: str, file: Path, inputs: Sequence[str], outputs: Sequence[str]
) -> Function:
    """Open a converted signature.

    Args:
        execution: ``TFLITE`` or ``ONNX``.
        file: The converted model.
        inputs: The signature's inputs in order.
        outputs: Its outputs in order.

    Returns:
        The run of the signature.
    """
    opened = {TFLITE: _open_tflite, ONNX: _open_onnx}[execution]
    return opened(file, inputs, outputs)


def _open_onnx(file: Path, inputs: Sequence[str], outputs: Sequence[str]) -> Function:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a refused request is told to its caller, not to the log
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    known = {tensor.name for tensor in session.get_inputs()}
    names = [name if name in known else None for name in inputs]
    # The session's own `run` checks what was checked before.
    run = session._sess.run
    fetches = list(outputs)

    def call(arrays: Sequence[Array], keeps_alive: Any = session) -> list[Array]:
        feeds = {name: array for name, array in zip(names, arrays, strict=True) if name is not None}
        try:
            return run(fetches, feeds, None)  # type: ignore[no-any-return]
        except Exception as fault:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"The model refused the request: {type(fault).__name__}"
            ) from None

    return call


def where_finite(converted: Function, graph: Function, is_float: Sequence[bool]) -> Function:
    """Ask a conversion that differs on NaN and infinity only where there are none.

    Args:
        converted: Answers requests of finite numbers.
        graph: Answers the others.
        is_float: Which of the inputs can hold NaN at all.
    """
    every = all(is_float)

    def call(arrays: Sequence[Array]) -> Sequence[Array]:
        floats = (
            arrays if every else [a for a, is_one in zip(arrays, is_float, strict=True) if is_one]
        )
        flat = floats[0].ravel() if len(floats) == 1 else np.concatenate(floats, axis=None)
        # The sum of squares is finite only if every one is; where it overflows, the graph is asked.
        return (converted if math.isfinite(flat.dot(flat)) else graph)(arrays)

    return call


@functools.cache
def _tflite_library() -> Any:
    with without_tensorflow(
        "tensorflow",
        "tensorflow.lite",
        "tensorflow.lite.python",
        "tensorflow.lite.python.interpreter_wrapper",
    ):
        from tensorflow.lite.python.interpreter_wrapper import (
            _pywrap_tensorflow_interpreter_wrapper as library,
        )

    return library


class _Interpreter:
    """A TFLite interpreter for one shape of each input."""

    def __init__(
        self,
        model: bytes,
        inputs: Sequence[str],
        outputs: Sequence[str],
        shapes: Sequence[tuple[int, ...]],
    ) -> None:
        self._model = model  # the interpreter reads its weights from here
        self._shapes = shapes
        self._kept: dict[int, Array] = {}
        self._interpreter = interpreter = _tflite_library().CreateWrapperFromBuffer(
            model, 1, [], False, False
        )
        ((name, signature),) = interpreter.GetSignatureDefs().items()
        subgraph = self._subgraph = interpreter.GetSubgraphIndexFromSignature(name)
        known = signature["inputs"]
        self._inputs = [(i, known[alias]) for i, alias in enumerate(inputs) if alias in known]
        self._outputs = [signature["outputs"][alias] for alias in outputs]
        for index, place in self._inputs:
            shape = np.array(shapes[index], np.int32)
            interpreter.ResizeInputTensor(place, shape, False, subgraph)
        interpreter.AllocateTensors(subgraph)

    def __call__(self, arrays: Sequence[Array], *, is_full: bool) -> list[Array]:
        interpreter, subgraph = self._interpreter, self._subgraph
        for index, place in self._inputs:
            array = arrays[index] if is_full else self._filled(index, arrays[index])
            interpreter.SetTensor(place, array, subgraph)
        interpreter.Invoke(subgraph)
        return [interpreter.GetTensor(place, subgraph) for place in self._outputs]

    def _filled(self, index: int, array: Array) -> Array:
        """Repeat the last row until the shape is full, in an array that is kept for that."""
        kept = self._kept.get(index)
        if kept is None:
            kept = self._kept[index] = np.empty(self._shapes[index], array.dtype)
        rows = len(array)
        kept[:rows] = array
        kept[rows:] = array[-1]
        return kept


def _open_tflite(file: Path, inputs: Sequence[str], outputs: Sequence[str]) -> Function:
    """Keep an interpreter per shape: to give one another shape takes longer than many runs.

    Rows are filled up to the next power of two by repeating the last one, so there are few shapes.
    """
    model = file.read_bytes()
    interpreters: OrderedDict[tuple[tuple[int, ...], ...], _Interpreter] = OrderedDict()

    def call(arrays: Sequence[Array]) -> list[Array]:
        rows = len(arrays[0])
        bucket = _bucket(rows)
        shapes = tuple([(bucket, *array.shape[1:]) for array in arrays])
        interpreter = interpreters.get(shapes)
        if interpreter is None:
            interpreter = interpreters[shapes] = _Interpreter(model, inputs, outputs, shapes)
            if len(interpreters) > _MOST_INTERPRETERS:
                interpreters.popitem(last=False)
        try:
            answer = interpreter(arrays, is_full=bucket == rows)
        except (RuntimeError, ValueError) as fault:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"The model refused the request: {type(fault).__name__}"
            ) from None
        return answer if bucket == rows else [array[:rows] for array in answer]

    return call


def _bucket(rows: int) -> int:
    """Round rows up to a power of two, and many rows to a multiple of the largest."""
    if rows > _LARGEST_BUCKET:
        return -(-rows // _LARGEST_BUCKET) * _LARGEST_BUCKET
    return 1 << (rows - 1).bit_length()
