"""Classify and Regress: requests of ``tf.Example``, answers of labels and numbers.

The rules and sentences are those of TensorFlow Serving's ``classifier.cc`` and ``regressor.cc``
with ``--enable_signature_method_name_check=false``, its default: a signature of any method will do
that has the right aliases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from serving.server.contract import Code, Servable, ServingError, Signature, Tensors
from serving.server.protos import types_pb2
from serving.server.tensors import Array

DEFAULT_SIGNATURE = "serving_default"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
INPUTS = "inputs"
_CLASSES, _SCORES, _OUTPUTS = "classes", "scores", "outputs"


def _refuse(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def signature_named(servable: Servable, name: str) -> Signature:
    """Find a signature for Classify or Regress.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: there is none of this name.
    """
    signature = servable.signatures.get(name)
    if signature is None:
        raise _refuse(f"No signature was found with the name: {name}")
    return signature


def classification_outputs(signature: Signature) -> tuple[str, ...]:
    """Say which outputs classify: ``classes``, ``scores`` or both.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: the signature does not classify.
    """
    if len(signature.inputs) != 1:
        raise _refuse("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise _refuse(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise _refuse("No classification inputs found in SignatureDef")
    names = tuple(name for name in (_CLASSES, _SCORES) if name in signature.outputs)
    if not names:
        raise _refuse(
            "Expected classification signature outputs to contain at least one of "
            f'"{_CLASSES}" or "{_SCORES}".'
        )
    return names


def regression_outputs(signature: Signature) -> tuple[str, ...]:
    """Say which output regresses: ``outputs``.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: the signature does not regress.
    """
    if len(signature.inputs) != 1:
        raise _refuse("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise _refuse("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise _refuse("No regression inputs found in SignatureDef")
    if _OUTPUTS not in signature.outputs:
        raise _refuse("No regression outputs found in SignatureDef")
    return (_OUTPUTS,)


def examples_array(examples: Sequence[bytes]) -> Array:
    """Make the input tensor of serialised examples.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: there is none.
    """
    if not examples:
        raise _refuse("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = examples
    return array


def examples_of(request_input: Any) -> list[bytes]:
    """Serialise the examples of an ``Input``, its context before each of them."""
    if request_input.WhichOneof("kind") == "example_list_with_context":
        with_context = request_input.example_list_with_context
        context = with_context.context.SerializeToString()
        return [context + example.SerializeToString() for example in with_context.examples]
    return [example.SerializeToString() for example in request_input.example_list.examples]


def classifications(outputs: Tensors, count: int) -> Iterable[list[tuple[bytes, Any]]]:
    """Read the classes of each example.

    Args:
        outputs: The model's answer.
        count: How many examples were asked about.

    Returns:
        For each example a label ("" where the model names none) and a float32 score per class.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: the answer's shape or dtype does not classify.
    """
    labels, scores = outputs.get(_CLASSES), outputs.get(_SCORES)
    for array, name, dtype in (
        (labels, _CLASSES, types_pb2.DT_STRING),
        (scores, _SCORES, types_pb2.DT_FLOAT),
    ):
        if array is None:
            continue
        expected = object if dtype == types_pb2.DT_STRING else np.float32
        if array.ndim != 2:
            raise _refuse(
                "Expected Tensor shape: [batch_size num_classes] but got "
                f"[{','.join(map(str, array.shape))}]"
            )
        if array.dtype != expected:
            raise _refuse(
                f"Expected {name} Tensor of {types_pb2.DataType.Name(dtype)}. Got: {array.dtype}"
            )
        if array.shape[0] != count:
            raise _refuse(f"Expected {name} output batch size of {count}. Got: {array.shape[0]}")
    if labels is None:
        assert scores is not None
        labels = np.full(scores.shape, b"", object)
    if scores is None:
        scores = np.zeros(labels.shape, np.float32)
    if labels.shape[1] != scores.shape[1]:
        raise _refuse(
            "Tensors class and score should match in dim_size(1). Got "
            f"{labels.shape[1]} vs. {scores.shape[1]}"
        )
    return (
        list(zip(row_labels, row_scores, strict=True))
        for row_labels, row_scores in zip(labels, scores, strict=True)
    )


def regressions(outputs: Tensors, count: int) -> Array:
    """Read the number of each example.

    Raises:
        ServingError: ``INVALID_ARGUMENT``: the answer's shape or dtype does not regress.
    """
    array = outputs[_OUTPUTS]
    if array.ndim != 1 and array.shape[1:] != (1,):
        raise _refuse(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"[{','.join(map(str, array.shape))}]"
        )
    if array.shape[0] != count:
        raise _refuse(
            f"Input batch size did not match output batch size: {count} vs. {array.shape[0]}"
        )
    if array.dtype != np.float32:
        raise _refuse(f"Expected output Tensor of DT_FLOAT.  Got: {array.dtype}")
    return array.ravel()
