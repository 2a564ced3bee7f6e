"""The models half in memory: a few functions in place of graphs, and a server in a thread.

With it the protocols are tested without TensorFlow, and every refusal that a model can make can be
made when a test wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import uvloop

from serving.server.app import Ports, Server, ServerOptions
from serving.server.contract import (
    Code,
    Done,
    Observer,
    ServingError,
    Signature,
    Tensors,
    TensorSpec,
    VersionState,
    VersionStatus,
)
from serving.server.protos import example_pb2, get_model_metadata_pb2, types_pb2
from serving.server.tensors import NUMPY_TYPES

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{m}" for m in ("predict", "classify", "regress"))
Result = TypeVar("Result")


def spec(name: str, dtype: int, *tail: int) -> TensorSpec:
    return TensorSpec(f"{name}:0", dtype, (-1, *tail))


@dataclass(frozen=True)
class Function:
    """A signature with what it does."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    call: Callable[[Tensors], Tensors]
    method: str = PREDICT
    defaults: Mapping[str, Any] = field(default_factory=dict)


FLOAT, INT64, STRING = types_pb2.DT_FLOAT, types_pb2.DT_INT64, types_pb2.DT_STRING
X, Y = {"x": spec("x", FLOAT)}, {"y": spec("y", FLOAT)}
MIXED = {"x": spec("x", FLOAT, 2), "i": spec("i", INT64), "s": spec("s", STRING)}
EXAMPLES = {"inputs": spec("examples", STRING)}


def half_plus_two(inputs: Tensors) -> Tensors:
    return {"y": inputs["x"] * np.float32(0.5) + np.float32(2)}


def _numbers(inputs: Tensors) -> Any:
    return np.array(
        [
            example_pb2.Example.FromString(text).features.feature["x"].float_list.value[0]
            for text in inputs["inputs"]
        ],
        np.float32,
    )


def _unforeseen(inputs: Tensors) -> Tensors:
    raise RuntimeError("learner 4711 scored 0.3")


def _raising(code: Code, message: str) -> Function:
    def call(inputs: Tensors) -> Tensors:
        raise ServingError(code, message)

    return Function(X, Y, call)


FUNCTIONS = {
    "serving_default": Function(X, Y, half_plus_two),
    "mixed": Function(
        MIXED,
        {"x": spec("x", FLOAT, 2), "i": spec("i", INT64), "s_bytes": spec("s", STRING)},
        lambda inputs: {"x": inputs["x"], "i": inputs["i"], "s_bytes": inputs["s"]},
    ),
    "optional": Function(
        {"x": spec("x", FLOAT), "z": spec("z", FLOAT)},
        Y,
        lambda inputs: {"y": inputs["x"] + inputs.get("z", np.float32(10))},
        defaults={"z": np.float32([10])},
    ),
    "text": Function({"s": spec("s", STRING)}, {"s": spec("s", STRING)}, lambda i: {"s": i["s"]}),
    "unfinite": Function(
        X, Y, lambda i: {"y": np.resize(np.float32([np.nan, np.inf, -np.inf, 0.1]), len(i["x"]))}
    ),
    "scalar": Function(X, Y, lambda i: {"y": np.float32(7) + np.zeros((), np.float32)}),
    "uneven": Function(
        X,
        {**Y, "z": spec("z", FLOAT)},
        lambda i: {"y": i["x"], "z": np.zeros(len(i["x"]) + 1, np.float32)},
    ),
    "no_inputs": Function({}, Y, lambda i: {"y": np.zeros(1, np.float32)}),
    "classify_x_to_y": Function(
        EXAMPLES,
        {"scores": spec("scores", FLOAT, 1)},
        lambda i: {"scores": (_numbers(i) * np.float32(0.5) + np.float32(2))[:, None]},
        CLASSIFY,
    ),
    "classify_labelled": Function(
        EXAMPLES,
        {"scores": spec("scores", FLOAT, 2), "classes": spec("classes", STRING, 2)},
        lambda i: {
            "scores": np.stack([_numbers(i), 1 - _numbers(i)], 1),
            "classes": np.array([[b"fail", b"pass"]] * len(i["inputs"]), object),
        },
        CLASSIFY,
    ),
    "regress_x_to_y": Function(
        EXAMPLES,
        {"outputs": spec("outputs", FLOAT, 1)},
        lambda i: {"outputs": (_numbers(i) * np.float32(0.5) + np.float32(2))[:, None]},
        REGRESS,
    ),
    "unforeseen": Function(X, Y, _unforeseen),
    **{
        f"refuses_{code.name.lower()}": _raising(code, f"The model says {code.name}.")
        for code in Code
    },
    **{
        f"echo_{types_pb2.DataType.Name(dtype)}": Function(
            {"x": spec("x", dtype)}, {"y": spec("y", dtype)}, lambda i: {"y": i["x"]}
        )
        for dtype in NUMPY_TYPES
    },
}


class MemoryServable:
    """A version whose signatures are functions."""

    def __init__(self, model: str, version: int, loop: asyncio.AbstractEventLoop) -> None:
        self.model = model
        self.version = version
        self.signatures = {
            name: Signature(f.method, f.inputs, f.outputs, f.defaults)
            for name, f in FUNCTIONS.items()
        }
        self.held: list[Callable[[], None]] | None = None
        self._loop = loop
        signatures = get_model_metadata_pb2.SignatureDefMap()
        definition = signatures.signature_def["serving_default"]
        definition.method_name = PREDICT
        for side, name in ((definition.inputs, "x"), (definition.outputs, "y")):
            tensor = side[name]
            tensor.name, tensor.dtype = f"{name}:0", FLOAT
            tensor.tensor_shape.dim.add(size=-1)
        self.meta_graph = signatures.SerializeToString()

    def answer_now(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None,
        seconds: float,
    ) -> Tensors | ServingError | None:
        """Version 2 answers at once where nothing is held, version 1 never."""
        self._check(signature, inputs, outputs)
        if self.version == 1 or self.held is not None:
            return None
        return self._answer(signature, inputs, outputs, deadline)

    def submit(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None,
        done: Done,
    ) -> None:
        self._check(signature, inputs, outputs)

        def answer() -> None:
            done(self._answer(signature, inputs, outputs, deadline))

        if self.held is not None:
            self.held.append(answer)
        elif signature == "unforeseen":
            FUNCTIONS[signature].call(inputs)
        else:
            self._loop.call_soon(answer)

    def _check(self, signature: str, inputs: Tensors, outputs: Sequence[str]) -> None:
        function = FUNCTIONS[signature]
        missing = function.inputs.keys() - inputs.keys() - function.defaults.keys()
        unknown = set(outputs) - function.outputs.keys()
        if missing or unknown:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"missing {sorted(missing)}, unknown {sorted(unknown)}"
            )

    def _answer(
        self, signature: str, inputs: Tensors, outputs: Sequence[str], deadline: float | None
    ) -> Tensors | ServingError:
        if deadline is not None and deadline <= self._loop.time():
            return ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded")
        try:
            arrays = FUNCTIONS[signature].call(inputs)
        except ServingError as error:
            return error
        except Exception:
            if signature == "unforeseen":
                raise
            # as a graph that cannot parse an example
            return ServingError(Code.INVALID_ARGUMENT, "The model failed.")
        return {name: arrays[name] for name in outputs or arrays}

    async def run(
        self,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str] = (),
        *,
        deadline: float | None = None,
    ) -> Tensors:
        future = self._loop.create_future()

        def done(answer: Tensors | ServingError) -> None:
            if isinstance(answer, ServingError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.submit(signature, inputs, outputs, deadline, done)
        answer: Tensors = await future
        return answer


class MemoryModels:
    """A model "half" of versions 1 and 2; ``stable`` is 1."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.servables = {number: MemoryServable("half", number, loop) for number in (1, 2)}
        self.labels = {"stable": 1}
        self.reloaded: list[bytes] = []

    def find(
        self, model: str, version: int | None = None, label: str | None = None
    ) -> MemoryServable:
        version = self._labelled(label) if label is not None else version
        if model != "half" or (version is not None and version not in self.servables):
            asked = f"Latest({model})" if version is None else f"Specific({model}, {version})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")
        return self.servables[max(self.servables) if version is None else version]

    def _labelled(self, label: str) -> int:
        if label not in self.labels:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}"
            )
        return self.labels[label]

    def statuses(
        self, model: str, version: int | None = None, label: str | None = None
    ) -> list[VersionStatus]:
        version = self._labelled(label) if label is not None else version
        if model != "half":
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {model}")
        statuses = [
            VersionStatus(3, VersionState.END, Code.NOT_FOUND, "no saved_model.pb"),
            VersionStatus(2, VersionState.AVAILABLE),
            VersionStatus(1, VersionState.AVAILABLE),
        ]
        if version is None:
            return statuses
        found = [status for status in statuses if status.version == version]
        if not found:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {model}")
        return found

    async def reload(self, config: bytes) -> None:
        if b"bad" in config:
            raise ServingError(Code.INVALID_ARGUMENT, "Expected a name.")
        self.reloaded.append(config)


class ThreadedServer:
    """A server on an event loop of its own, in a thread."""

    def __init__(self, options: ServerOptions, observer: Observer | None = None) -> None:
        self.ports = Ports(0, 0)
        self.models: MemoryModels
        self.server: Server
        self._options = options
        self._observer = observer
        self._loop = uvloop.new_event_loop()
        self._is_ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._is_ready.wait(60)
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._start())
        except BaseException as failure:
            self._failure = failure
            return
        finally:
            self._is_ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        self.models = MemoryModels()
        self.server = Server(self.models, self._options, self._observer)
        self.ports = await self.server.start()

    def call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def do(self, function: Callable[[], Result]) -> Result:
        """Call a function on the server's loop."""

        async def call() -> Result:
            return function()

        return self.call(call())

    def stop(self) -> None:
        self.call(self.server.drain())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)


@contextlib.contextmanager
def serving(
    options: ServerOptions | None = None, observer: Observer | None = None
) -> Iterator[ThreadedServer]:
    """Serve the model in memory on free ports until the block ends."""
    options = options or ServerOptions(rest_port=0, grpc_port=0, drain_seconds=5)
    server = ThreadedServer(options, observer)
    try:
        yield server
    finally:
        server.stop()


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
