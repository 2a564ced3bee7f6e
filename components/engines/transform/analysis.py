"""The analysis of a ``preprocessing_fn`` in memory, phase by phase.

Analyzers stand in the traced graph as placeholders ("sinks"). A phase evaluates the inputs of every
sink that depends only on data and on sinks already known, batch by batch, and accumulates; then the
sinks become constants and the graph is traced again. An analyzer that depends on another one, such
as a vocabulary of buckets, waits for the next phase. The last trace, all sinks known, is the
transform graph. Beam does the same with a saved model between each phase.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.transform import columns, operations
from components.engines.transform.batching import rebatch
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import pyarrow as pa

PreprocessingFunction = Callable[[dict[str, Any]], dict[str, Any]]
"""The author's function: raw tensors by feature in, transformed tensors by name out."""

ReadBatches = Callable[[], Iterable["pa.RecordBatch"]]
"""Reads the training rows from the start; called once for each phase."""


@dataclass(frozen=True)
class Trace:
    """A ``preprocessing_fn`` traced before anything is known.

    Args:
        function: The author's function.
        specs: How each raw feature is taken.
        signature: The raw features as ``tf.TypeSpec``.
        graph: The traced graph.
        inputs: The graph's input tensors, by feature.
        sinks: TensorFlow Transform's analyzers, as ``TensorSink``.
        fingerprints: What identifies each sink, to find it again in a further trace.
        used: The raw features that a transformed feature depends on.
    """

    function: PreprocessingFunction
    specs: columns.FeatureSpecs
    signature: dict[str, Any]
    graph: Any
    inputs: dict[str, Any]
    sinks: tuple[Any, ...]
    fingerprints: dict[str, Any]
    used: frozenset[str]

    def unclaimed(self) -> str | None:
        """Say why this function needs Beam, or None when every analyzer is claimed in memory."""
        for operation in _operations(sink.future for sink in self.sinks):
            reason = operations.unclaimed(operation)
            if reason:
                return reason
        return None


def trace(function: PreprocessingFunction, specs: columns.FeatureSpecs, scratch: Path) -> Trace:
    """Trace a ``preprocessing_fn`` and find its analyzers.

    Args:
        function: The author's function.
        specs: How each raw feature is taken.
        scratch: A folder for TensorFlow Transform's temporary files.

    Returns:
        The trace.

    Raises:
        UsageError: The function reads a feature that the schema lacks, or returns no tensors.
    """
    from tensorflow_transform import analyzer_nodes, graph_tools, impl_helper

    signature = impl_helper.get_type_specs_from_feature_specs(dict(specs))
    try:
        graph, inputs, outputs = impl_helper.trace_preprocessing_function(
            function, signature, use_tf_compat_v1=False, base_temp_dir=str(scratch)
        )
    except KeyError as fault:
        missing = str(fault.args[0])
        if missing in specs:
            raise
        raise UsageError(
            "The preprocessing function reads a feature that the schema does not have.",
            where=_name(function),
            expected=closest(missing, specs),
            received=repr(missing),
            next="add the feature to the curated schema, or mend the name in the function",
        ) from None
    if not isinstance(outputs, dict) or not outputs:
        raise UsageError(
            "The preprocessing function must return the transformed features.",
            where=_name(function),
            expected="a dict of tensors by name",
            received=repr(outputs),
        )
    sinks = tuple(graph.get_collection(analyzer_nodes.TENSOR_REPLACEMENTS))
    fingerprints = graph_tools.get_analyzers_fingerprint(graph, inputs)
    used = set(graph_tools.get_dependent_inputs(graph, inputs, outputs))
    used.update(*(fingerprint.source_keys for fingerprint in fingerprints.values()))
    return Trace(function, specs, signature, graph, inputs, sinks, fingerprints, frozenset(used))


def analyze(traced: Trace, read_batches: ReadBatches, scratch: Path) -> dict[str, Any]:
    """Evaluate every analyzer over the training rows.

    Args:
        traced: The traced function, with claimed analyzers only.
        read_batches: Reads the training rows.
        scratch: A folder for vocabulary files, which must outlive the writing of the graph.

    Returns:
        The value of each sink as an eager tensor, by the sink's name.

    Raises:
        UsageError: There are no rows, or a row does not fit the schema.
    """
    surroundings = operations.Surroundings(traced.graph, scratch / "vocabularies")
    evaluation = _Evaluation(surroundings)
    constants: dict[str, Any] = {}
    while len(constants) < len(traced.sinks):
        ready = _ready(traced, constants)
        streams = _streams(ready, evaluation)
        _accumulate(traced, streams, constants, read_batches, scratch)
        evaluation.add(streams)
        constants.update({str(sink.tensor.name): evaluation.constant(sink) for sink in ready})
    return constants


def training_tensors(traced: Trace, read_batches: ReadBatches) -> Iterator[columns.Tensors]:
    """Read the training rows as the traced function takes them.

    Args:
        traced: The traced function.
        read_batches: Reads the training rows.

    Yields:
        The tensors of a batch, by feature; those that nothing depends on are blank.

    Raises:
        UsageError: There are no rows, a column lacks, or a row does not fit the schema.
    """
    is_empty = True
    for batch in rebatch(read_batches()):
        if is_empty:
            columns.require_columns(batch.schema.names, traced.used, "the split to analyze")
            is_empty = False
        yield columns.to_tensors(batch, traced.specs, traced.used)
    if is_empty:
        raise UsageError(
            "There are no rows to analyze.",
            where="the split to analyze",
            expected="at least one row",
            received="0 rows",
            next="check the split and the filters of the ingested data",
        )


@dataclass(frozen=True)
class _Stream:
    """An operation that reads tensors, and what it gathers from them."""

    label: str
    tensors: tuple[Any, ...]
    accumulator: operations.Accumulator


class _Evaluation:
    """Computes sinks from what was accumulated; each operation once, over all phases."""

    def __init__(self, surroundings: operations.Surroundings) -> None:
        from tensorflow_transform import nodes

        self._surroundings = surroundings
        self._accumulated: dict[str, Any] = {}
        self._traverser = nodes.Traverser(_visitor(self._visit))

    def add(self, streams: Iterable[_Stream]) -> None:
        """Take over what the streams of a phase gathered."""
        self._accumulated.update({s.label: s.accumulator.result() for s in streams})

    def has(self, label: str) -> bool:
        """Tell whether an operation's input was gathered in an earlier phase."""
        return label in self._accumulated

    def constant(self, sink: Any) -> Any:
        """The value of a sink, as an eager tensor."""
        import tensorflow as tf

        return tf.constant(self._traverser.visit_value_node(sink.future), sink.tensor.dtype)

    def _visit(self, operation: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        if type(operation).__name__ == "TensorSource":
            return (None,)
        if operation.label in self._accumulated:
            return (self._accumulated[operation.label],)
        return operations.finish(operation, inputs, self._surroundings)


def _ready(traced: Trace, constants: dict[str, Any]) -> list[Any]:
    """The unknown sinks that depend on data and known sinks only."""
    from tensorflow_transform import graph_tools

    is_known = [(sink.tensor, str(sink.tensor.name) in constants) for sink in traced.sinks]
    dependencies = graph_tools.InitializableGraphAnalyzer(traced.graph, traced.inputs, is_known)
    return [
        sink
        for sink in traced.sinks
        if str(sink.tensor.name) not in constants
        and all(dependencies.ready_to_run(tensor) for tensor in _sources(sink.future))
    ]


def _streams(sinks: Iterable[Any], evaluation: _Evaluation) -> list[_Stream]:
    """The operations that read tensors for these sinks and have not done so yet."""
    from tensorflow_transform import nodes

    streams: list[_Stream] = []

    def visit(operation: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
        if type(operation).__name__ == "TensorSource":
            return (operation.tensors,)
        accumulator = operations.accumulator(operation)
        if accumulator and not evaluation.has(operation.label):
            streams.append(_Stream(operation.label, inputs[0], accumulator))
        return (None,) * int(operation.num_outputs)

    traverser = nodes.Traverser(_visitor(visit))
    for sink in sinks:
        traverser.visit_value_node(sink.future)
    return streams


def _accumulate(
    traced: Trace,
    streams: Sequence[_Stream],
    constants: dict[str, Any],
    read_batches: ReadBatches,
    scratch: Path,
) -> None:
    """Read the rows once, feeding every stream."""
    import tensorflow as tf

    names = sorted({tensor.name for stream in streams for tensor in stream.tensors})
    with _graph_with(traced, constants, scratch) as graph:
        function = _function(graph, names)
        for tensors in training_tensors(traced, read_batches):
            values = function(*tf.nest.flatten(tensors, expand_composites=True))
            arrays = {name: value.numpy() for name, value in zip(names, values, strict=True)}
            for stream in streams:
                stream.accumulator.add([arrays[tensor.name] for tensor in stream.tensors])


@contextlib.contextmanager
def _graph_with(traced: Trace, constants: dict[str, Any], scratch: Path) -> Iterator[Any]:
    """The traced graph with the known sinks as constants.

    Tables of known vocabularies live as long as the trackers, so as long as the ``with`` block.
    """
    import tensorflow as tf
    from tensorflow.python.trackable import resource
    from tensorflow_transform import annotators, graph_context, impl_helper

    if not constants:
        yield traced.graph
        return
    resources, objects = resource.ResourceTracker(), annotators.ObjectTracker()
    context = graph_context.TFGraphContext(tf.Module(), str(scratch), constants)
    function = impl_helper.get_traced_transform_fn(traced.function, traced.signature, context)
    with resource.resource_tracker_scope(resources), annotators.object_tracker_scope(objects):
        again = function.get_concrete_function()
    yield again.graph


def _function(graph: Any, names: Sequence[str]) -> Callable[..., list[Any]]:
    """The part of a graph that computes some of its tensors from the raw features."""
    from tensorflow.python.eager import wrap_function

    variables = wrap_function.VariableHolder(share_variables=True)
    whole = wrap_function.WrappedFunction(graph, variable_holder=variables)
    features = graph.inputs[: len(graph.inputs) - len(graph.internal_captures)]
    function: Callable[..., list[Any]] = whole.prune(
        features, [graph.get_tensor_by_name(name) for name in names]
    )
    return function


def _sources(future: Any) -> list[Any]:
    from tensorflow_transform import graph_tools, nodes

    visitor = graph_tools.SourcedTensorsVisitor()
    nodes.Traverser(visitor).visit_value_node(future)
    tensors: list[Any] = visitor.sourced_tensors
    return tensors


def _operations(futures: Iterable[Any]) -> list[Any]:
    from tensorflow_transform import nodes

    found: list[Any] = []

    def visit(operation: Any, _: Sequence[Any]) -> tuple[Any, ...]:
        found.append(operation)
        return (None,) * int(operation.num_outputs)

    traverser = nodes.Traverser(_visitor(visit))
    for future in futures:
        traverser.visit_value_node(future)
    return found


def _visitor(visit: Callable[[Any, Sequence[Any]], tuple[Any, ...]]) -> Any:
    """Make a TensorFlow Transform visitor of one function."""
    from tensorflow_transform import nodes

    class FunctionVisitor(nodes.Visitor):  # type: ignore[misc]  # TensorFlow Transform has no types
        def visit(self, operation_def: Any, input_values: Sequence[Any]) -> tuple[Any, ...]:
            return visit(operation_def, input_values)

        def validate_value(self, value: Any) -> None:
            """Any value may pass between operations."""

    return FunctionVisitor()


def _name(function: PreprocessingFunction) -> str:
    return f"{function.__module__}:{function.__qualname__}"
