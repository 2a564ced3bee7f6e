"""What the two halves of the server know of each other.

One half finds, loads and runs model versions (:mod:`serving.server.models`); the other speaks REST
and gRPC to callers. They meet here and nowhere else: numpy arrays by tensor name go in and come
out, and every refusal is a :class:`ServingError` with a canonical gRPC code, which each protocol
words in its own way. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy.typing as npt

Tensors = Mapping[str, "npt.NDArray[Any]"]
"""Arrays by tensor name; strings are object arrays of bytes."""


class Code(enum.IntEnum):
    """The canonical gRPC codes that the server answers with (https://grpc.io/docs/guides/status-codes/)."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ServingError(Exception):
    """A request that cannot be answered.

    Args:
        code: The canonical code.
        message: TensorFlow Serving's sentence where it has one; never a learner's data.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class VersionState(enum.IntEnum):
    """The life of a version, numbered as ``ModelVersionStatus.State`` is."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """Where a version stands.

    Args:
        version: Its number.
        state: Its state.
        code: OK is 0; the reason's code when it could not be loaded.
        message: The reason in a sentence.
    """

    version: int
    state: VersionState
    code: int = 0
    message: str = ""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a signature.

    Args:
        name: The graph's name of it, as in the SavedModel (``serving_default_score:0``).
        dtype: ``tf.DType.as_datatype_enum``, the number of ``DT_FLOAT`` and so on.
        shape: A size per dimension, -1 where it is free; None when even the rank is unknown.
    """

    name: str
    dtype: int
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Signature:
    """A signature of a SavedModel.

    Args:
        method: ``tensorflow/serving/predict``, ``…/classify`` or ``…/regress``.
        inputs: Tensor by alias.
        outputs: Tensor by alias.
        defaults: The value of an input that a request may leave out, by alias; usually empty.
    """

    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    defaults: Mapping[str, Any]

    @functools.cached_property
    def is_batchable(self) -> bool:
        """Whether requests may be put together along their first dimension."""
        return all(
            spec.shape is not None and spec.shape[:1] == (-1,)
            for spec in (*self.inputs.values(), *self.outputs.values())
        )


Done = Callable[["Tensors | ServingError"], None]
"""Takes the answer to a request, or why there is none."""


class Servable(Protocol):
    """A version that answers."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def version(self) -> int:
        """The version's number."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures by name."""

    @property
    def meta_graph(self) -> bytes:
        """The SavedModel's ``SignatureDefMap``, serialised, for GetModelMetadata."""

    def answer_now(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None,
        seconds: float,
    ) -> Tensors | ServingError | None:
        """Answer one request before returning, if it has not to wait and nothing is queued.

        Args:
            signature: As ``run`` takes it.
            inputs: As ``run`` takes them.
            outputs: As ``run`` takes them.
            deadline: As ``run`` takes it; None for no deadline.
            seconds: What waiting for others costs a caller in a crowd: a run that is expected to
                take as long is shared there. Infinite for a crowd that is here already. Alone, any
                short run is done here.

        Returns:
            Arrays by alias of the output, or why the run gave none; None where the request is to be
            submitted.

        Raises:
            ServingError: What is known to be wrong before a run.
        """

    def submit(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None,
        done: Done,
    ) -> None:
        """Answer one request as ``run`` does, without the cost of a future and a task.

        It is called on the event loop.

        Args:
            signature: As ``run`` takes it.
            inputs: As ``run`` takes them.
            outputs: As ``run`` takes them.
            deadline: As ``run`` takes it; None for no deadline.
            done: Called once with the answer or the refusal, on the event loop, after ``submit``
                has returned. It must not raise.

        Raises:
            ServingError: What is known to be wrong at once; ``done`` is then never called.
        """

    async def run(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str] = (),
        *,
        deadline: float | None = None,
    ) -> Tensors:
        """Answer one request, in a batch with whatever else is waiting.

        Args:
            signature: A name in ``signatures``.
            inputs: Arrays that already have each input's dtype; equal first dimensions.
            outputs: Aliases to answer; all when empty.
            deadline: On the event loop's clock (``loop.time()``); expired requests never run.

        Returns:
            Arrays by alias of the output.

        Raises:
            ServingError: ``INVALID_ARGUMENT`` (a tensor is missing, unknown or of a wrong shape),
                ``DEADLINE_EXCEEDED``, ``RESOURCE_EXHAUSTED`` (the queue is full), ``UNAVAILABLE``
                (the server is stopping), or what the graph itself raised.
        """


class Models(Protocol):
    """The models of a server."""

    def find(self, model: str, version: int | None = None, label: str | None = None) -> Servable:
        """Find the version that answers a request: the newest that is available, one, or a label's.

        Raises:
            ServingError: ``NOT_FOUND`` in TensorFlow Serving's words, for example ``Servable not
                found for request: Latest(m)``; ``INVALID_ARGUMENT`` for an unknown label.
        """

    def statuses(
        self, model: str, version: int | None = None, label: str | None = None
    ) -> list[VersionStatus]:
        """Tell where the versions of a model stand, the newest first.

        Raises:
            ServingError: ``NOT_FOUND``: ``Could not find any versions of model m``.
        """

    async def reload(self, config: bytes) -> None:
        """Realise a serialised ``ModelServerConfig``, and only it.

        Returns when the new versions answer or were refused.

        Raises:
            ServingError: ``INVALID_ARGUMENT`` with the reason; the old configuration stays.
        """


class Observer(Protocol):
    """What is told of every prediction after its answer was sent: the prediction log.

    It is called on the event loop, so it must only take note and return; what it raises is counted
    and goes no further. A server without one pays nothing for it.
    """

    def __call__(
        self,
        *,
        model: str,
        version: int,
        label: str | None,
        signature: str,
        inputs: Tensors,
        outputs: Tensors,
        metadata: Mapping[str, str],
        seconds: float,
    ) -> None:
        """Take note of one answered Predict, Classify or Regress.

        Args:
            model: The model's name.
            version: The version that answered.
            label: The label that the caller asked for; None where it named none.
            signature: The signature's name.
            inputs: The request's arrays, as they were given to the model; for Classify and Regress
                one array of serialised ``tf.Example``. Not to be changed.
            outputs: The answer's arrays, before they were written for the caller. Not to be
                changed.
            metadata: The request's HTTP headers or gRPC metadata, names in lower case, without
                ``authorization``.
            seconds: From the whole request's arrival to the answer.
        """
