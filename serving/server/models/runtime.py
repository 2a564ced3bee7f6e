"""TensorFlow's C++ runtimes, without TensorFlow's Python.

A served graph needs the session that TensorFlow Serving itself runs graphs with, or a TFLite
interpreter; both are extension modules that load in a fraction of a second, while ``import
tensorflow`` takes five and stalls a server that is answering. The modules are private parts of
TensorFlow 2.16, so everything that knows them is in this file, and the tests compare its answers
with TensorFlow's own.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from serving.server.contract import Code, ServingError
from serving.server.protos import config_pb2, without_tensorflow
from serving.server.tensors import Array

Function = Callable[[Sequence[Array]], Sequence[Array]]
"""A run of a model: arrays in the order of its inputs to arrays in the order of its outputs."""

# TensorFlow prints every failed run, with the values in question, unless it is told not to.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


_LOADING = threading.Lock()
_PACKAGES = (
    "tensorflow",
    "tensorflow.core",
    "tensorflow.core.protobuf",
    "tensorflow.python",
    "tensorflow.python.client",
    "tensorflow.python.framework",
    "tensorflow.python.util",
    "tensorflow.tools",
    "tensorflow.tools.docs",
)


class _Runtime(NamedTuple):
    """The session's library, and what it raises."""

    library: Any
    fault: type[Exception]


def _runtime() -> _Runtime:
    # The library's table of exceptions aborts the process when it is filled twice, so TensorFlow's
    # own module fills it, which a later `import tensorflow` finds already there.
    with _LOADING:
        return _load_runtime()


@functools.cache
def _load_runtime() -> _Runtime:
    with without_tensorflow(*_PACKAGES):
        import tensorflow.python.client._pywrap_tf_session as library
        from tensorflow.python import _pywrap_tfe
        from tensorflow.python.framework.errors_impl import OpError

    # Importing this module is what makes the library take numpy arrays.
    assert _pywrap_tfe is not None
    return _Runtime(library, OpError)


class GraphSession:
    """A TensorFlow graph that can be run; it is freed with the last function made of it.

    Args:
        graph: The serialised ``GraphDef``.
        threads: How many threads one operation may use.

    Example:
        ::

            session = GraphSession(graph, threads=1)
            double = session.function(["x:0"], ["y:0"])
            (y,) = double([np.float32([1, 2])])
    """

    def __init__(self, graph: bytes, threads: int) -> None:
        library, self._fault = _runtime()
        self._library = library
        self._graph = library.PyGraph()
        options = library.TF_NewImportGraphDefOptions()
        buffer = library.TF_NewBufferFromString(graph)
        session_options = library._TF_NewSessionOptions()
        try:
            library.TF_ImportGraphDefOptionsSetPrefix(options, "")
            results = library.TF_GraphImportGraphDefWithResults(self._graph, buffer, options)
            library.TF_DeleteImportGraphDefResults(results)
            config = config_pb2.ConfigProto(
                inter_op_parallelism_threads=1, intra_op_parallelism_threads=threads
            )
            library._TF_SetConfig(session_options, config.SerializeToString())
            self._session = library.TF_NewSessionRef(self._graph, session_options)
        except self._fault as fault:
            raise _explained(fault) from None
        finally:
            library.TF_DeleteSessionOptions(session_options)
            library.TF_DeleteBuffer(buffer)
            library.TF_DeleteImportGraphDefOptions(options)
        library.ExtendSession(self._session)
        weakref.finalize(self, _free, library, self._session, self._graph)

    def function(
        self, feeds: Sequence[str], fetches: Sequence[str], targets: Sequence[str] = ()
    ) -> Function:
        """Make a function of some tensors.

        Args:
            feeds: The tensors that are given (``x:0``).
            fetches: The tensors that are answered.
            targets: Operations that are run besides.

        Returns:
            From the feeds' arrays to the fetches'; it raises ServingError with the graph's reason.
            Operations run in the calling thread.
        """
        library, session = self._library, self._session
        options = config_pb2.CallableOptions(feed=feeds, fetch=fetches, target=targets)
        options.run_options.inter_op_thread_pool = -1
        buffer = library.TF_NewBufferFromString(options.SerializeToString())
        try:
            handle = library.TF_SessionMakeCallable(session, buffer)
        except self._fault as fault:
            raise _explained(fault) from None
        finally:
            library.TF_DeleteBuffer(buffer)
        run = library.TF_SessionRunCallable
        status_error = self._fault

        def call(arrays: Sequence[Array], keeps_alive: GraphSession = self) -> list[Array]:
            try:
                return run(session, handle, arrays, None)  # type: ignore[no-any-return]
            except status_error as fault:
                raise _explained(fault) from None

        return call


def _free(library: Any, session: Any, graph: Any) -> None:
    library.TF_CloseSession(session)
    library.TF_DeleteSession(session)
    graph.Dismantle()


def _explained(fault: Any) -> ServingError:
    """Word the runtime's refusal, without the value that it quotes."""
    return ServingError(Code(fault.error_code), str(fault.message).partition(", value: ")[0])


def scalar(text: str | Path) -> Array:
    """Make a string tensor of rank 0."""
    return np.array(str(text).encode(), dtype=object)
