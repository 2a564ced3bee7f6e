"""Questions to a version before callers ask: its warm-up requests, and variations of them.

The requests lie in ``assets.extra/tf_serving_warmup_requests`` (:mod:`serving.warmup`). Variations
put what real rows rarely hold (a missing value, zero, something huge) in place of one column at a
time: where a converted model treats such a value in another way, it is not the same model.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from serving.server.contract import Code, ServingError, Signature
from serving.server.models.requests import RequestPlan
from serving.server.protos import example_pb2, prediction_log_pb2, types_pb2
from serving.server.tensors import NUMPY_TYPES, Array, array_of
from serving.warmup import WARMUP_FILE

MOST_REQUESTS = 1000
"""TensorFlow Serving refuses a version with more."""

DEFAULT_SIGNATURE = "serving_default"
_FLOATS = (np.nan, 0.0, -1.0, 1e6, np.inf)
_INTEGERS = (0, -1, 1, 2**31 - 1)


@dataclass(frozen=True)
class Question:
    """A request to one signature.

    Args:
        signature: The signature's name.
        values: An array per input, in the signature's order.
    """

    signature: str
    values: Sequence[Array]

    @property
    def rows(self) -> int:
        """How many rows it asks about."""
        return len(self.values[0]) if self.values and self.values[0].shape else 1

    @property
    def is_finite(self) -> bool:
        """Whether it holds neither NaN nor infinity."""
        return all(value.dtype.kind != "f" or np.isfinite(value).all() for value in self.values)

    def resized(self, rows: int) -> Question:
        """Ask about so many rows: the same ones in turn."""
        places = np.arange(rows) % self.rows
        return Question(self.signature, [value[places] for value in self.values])


def warmup_questions(folder: Path, signatures: Mapping[str, Signature]) -> list[Question]:
    """Read a version's warm-up requests.

    Args:
        folder: The version's folder.
        signatures: Its signatures.

    Returns:
        The requests in their order; none where there is no such file.

    Raises:
        ServingError: The file is damaged, has too many requests, or one that does not fit the
            signature.
    """
    file = folder / WARMUP_FILE
    if not file.exists():
        return []
    questions: list[Question] = []
    for record in _records(file):
        if len(questions) == MOST_REQUESTS:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Number of warmup records exceeds the maximum ({MOST_REQUESTS}) at {file}",
            )
        questions += _questions(record, signatures, file)
    return questions


def blank_questions(signatures: Mapping[str, Signature]) -> list[Question]:
    """Ask about a row of zeros and empty strings, where nobody gave a real one."""
    questions = []
    for name, signature in signatures.items():
        values = []
        for spec in signature.inputs.values():
            shape = [1 if size < 0 else size for size in spec.shape or ()]
            is_text = spec.dtype == types_pb2.DT_STRING
            numpy_type = NUMPY_TYPES[spec.dtype]
            values.append(np.full(shape, b"" if is_text else 0, numpy_type))
        questions.append(Question(name, values))
    return questions


def variations(question: Question) -> Iterator[Question]:
    """Vary one input at a time."""
    for place, value in enumerate(question.values):
        others: Sequence[float]
        if value.dtype.kind == "f":
            others = _FLOATS
        elif value.dtype.kind in "iu":
            others = tuple(n for n in _INTEGERS if n in range(*_range(value)))
        else:
            continue
        for other in others:
            varied = list(question.values)
            varied[place] = np.full_like(value, other)
            yield Question(question.signature, varied)


def _range(value: Array) -> tuple[int, int]:
    limits = np.iinfo(value.dtype)
    return int(limits.min), int(limits.max) + 1


def _records(file: Path) -> Iterator[bytes]:
    """Read a TFRecord file: length, its checksum, the bytes, their checksum."""
    content = file.read_bytes()
    place = 0
    while place < len(content):
        if place + 12 > len(content):
            raise _damaged(file)
        (length,) = struct.unpack_from("<Q", content, place)
        end = place + 12 + length
        if end + 4 > len(content):
            raise _damaged(file)
        yield content[place + 12 : end]
        place = end + 4


def _questions(
    record: bytes, signatures: Mapping[str, Signature], file: Path
) -> Iterator[Question]:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        raise _damaged(file) from None
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        yield _question(
            request.model_spec,
            {name: array_of(tensor) for name, tensor in request.inputs.items()},
            signatures,
        )
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        yield _question(request.model_spec, {"inputs": _examples(request.input)}, signatures)
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        for task in request.tasks:
            yield _question(task.model_spec, {"inputs": _examples(request.input)}, signatures)


def _question(
    spec: Any, inputs: Mapping[str, Array], signatures: Mapping[str, Signature]
) -> Question:
    name = spec.signature_name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f'A warm-up request: Serving signature name: "{name}" not found in signature def',
        )
    try:
        return Question(name, RequestPlan(name, signatures[name]).arrange(inputs).values)
    except ServingError as refusal:
        raise ServingError(refusal.code, f"A warm-up request: {refusal.message}") from None


def _examples(asked: Any) -> Array:
    """Serialise the examples of a Classify or Regress; a context is part of each."""
    examples = asked.example_list.examples
    if asked.WhichOneof("kind") == "example_list_with_context":
        examples = []
        for example in asked.example_list_with_context.examples:
            whole = example_pb2.Example()
            whole.CopyFrom(asked.example_list_with_context.context)
            whole.MergeFrom(example)
            examples.append(whole)
    return np.array([example.SerializeToString() for example in examples] or [b""], dtype=object)


def _damaged(file: Path) -> ServingError:
    return ServingError(Code.DATA_LOSS, f"{file} is damaged.")
