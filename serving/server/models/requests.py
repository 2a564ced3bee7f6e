"""What a signature asks of a request: checked before it is queued, so that none spoils a batch."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from serving.server.contract import Code, ServingError, Signature, Tensors, TensorSpec
from serving.server.protos import types_pb2
from serving.server.tensors import NUMPY_TYPES, Array


class Arranged(NamedTuple):
    """A request's arrays in the signature's order.

    Args:
        values: An array per input.
        rows: Their first dimension.
        group: Requests of one group may share a batch; None where it has to run alone.
    """

    values: list[Array]
    rows: int
    group: Hashable


class RequestPlan:
    """Checks the requests of one signature, quickly where all is well.

    Args:
        name: The signature's name.
        signature: The signature.
    """

    def __init__(self, name: str, signature: Signature) -> None:
        self.name = name
        self.signature = signature
        self.outputs = tuple(signature.outputs)
        self.is_batchable = signature.is_batchable
        self._inputs = tuple(signature.inputs)
        self._kinds = [NUMPY_TYPES[spec.dtype].num for spec in signature.inputs.values()]
        self._tails = [spec.shape[1:] if spec.shape else () for spec in signature.inputs.values()]
        self._has_one_group = self.is_batchable and not any(-1 in tail for tail in self._tails)
        self._single = [(1, *tail) for tail in self._tails]

    def arrange(self, inputs: Tensors) -> Arranged:
        """Check a request's arrays and put them in order.

        Raises:
            ServingError: ``INVALID_ARGUMENT``: an array is missing, unknown, or of a wrong dtype
                or shape.
        """
        try:
            values = [inputs[name] for name in self._inputs]
        except KeyError:
            return self._with_defaults(inputs)
        if len(inputs) != len(values):
            raise self._unknown(inputs)
        if [value.dtype.num for value in values] != self._kinds:
            raise self._wrong(values)
        shapes = [value.shape for value in values]
        if self._has_one_group:
            if shapes == self._single:
                return Arranged(values, 1, self.name)
            rows = shapes[0][0] if shapes[0] else 0
            if shapes != [(rows, *tail) for tail in self._tails]:
                raise self._wrong(values)
            return Arranged(values, rows, self.name)
        for shape, spec in zip(shapes, self.signature.inputs.values(), strict=True):
            if not _fits(shape, spec):
                raise self._wrong(values)
        if not self.is_batchable:
            return Arranged(values, 1, None)
        rows = shapes[0][0]
        if any(shape[0] != rows for shape in shapes):
            raise self._wrong(values)
        return Arranged(values, rows, (self.name, *(shape[1:] for shape in shapes)))

    def choose(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """Check which outputs are asked for.

        Raises:
            ServingError: ``INVALID_ARGUMENT``: one does not exist, or twice the same.
        """
        if not outputs:
            return self.outputs
        for name in outputs:
            if name not in self.signature.outputs:
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"output tensor alias not found in signature: {name} Outputs expected to be in "
                    f"the set {{{','.join(self.outputs)}}}.",
                )
        return tuple(outputs)

    def empty_answer(self) -> list[Array]:
        """Answer a request of no rows, which some runtimes cannot run."""
        return [
            np.empty(
                tuple(max(size, 0) for size in (0, *(spec.shape or (0,))[1:])),
                NUMPY_TYPES[spec.dtype],
            )
            for spec in self.signature.outputs.values()
        ]

    def _with_defaults(self, inputs: Tensors) -> Arranged:
        missing = [
            name
            for name in self._inputs
            if name not in inputs and name not in self.signature.defaults
        ]
        if missing or inputs.keys() - self.signature.inputs.keys():
            raise self._unknown(inputs)
        arranged = self.arrange({**self.signature.defaults, **inputs})
        return arranged._replace(group=None)

    def _unknown(self, inputs: Tensors) -> ServingError:
        sent, expected = set(inputs), set(self._inputs) - set(self.signature.defaults)
        return ServingError(
            Code.INVALID_ARGUMENT,
            "input size does not match signature: "
            f"{len(inputs)}!={len(self._inputs)} len({{{','.join(sorted(sent))}}}) "
            f"!= len({{{','.join(self._inputs)}}}). "
            f"Sent extra: {{{','.join(sorted(sent - set(self._inputs)))}}}. "
            f"Missing but required: {{{','.join(sorted(expected - sent))}}}.",
        )

    def _wrong(self, values: Sequence[Array]) -> ServingError:
        rows = None
        for (name, spec), value in zip(self.signature.inputs.items(), values, strict=True):
            if value.dtype != NUMPY_TYPES[spec.dtype]:
                return ServingError(
                    Code.INVALID_ARGUMENT,
                    f"input {name}: expected {types_pb2.DataType.Name(spec.dtype)}, "
                    f"received {value.dtype}.",
                )
            if not _fits(value.shape, spec):
                return ServingError(
                    Code.INVALID_ARGUMENT,
                    f"input {name}: expected shape {_written(spec.shape)}, "
                    f"received {_written(value.shape)}.",
                )
            rows = value.shape[0] if rows is None else rows
            if value.shape[0] != rows:
                return ServingError(
                    Code.INVALID_ARGUMENT,
                    f"input {name}: expected {rows} rows as in {self._inputs[0]}, "
                    f"received {value.shape[0]}.",
                )
        raise AssertionError("nothing is wrong with these arrays")


def _fits(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    if spec.shape is None:
        return True
    return len(shape) == len(spec.shape) and all(
        expected in (-1, size) for size, expected in zip(shape, spec.shape, strict=True)
    )


def _written(shape: Sequence[int] | None) -> str:
    return f"[{','.join('?' if size < 0 else str(size) for size in shape or ())}]"
