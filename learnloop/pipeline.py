"""Pipelines: calls of components make a graph, and every check is made before a byte is read.

::

    @pipeline
    def learner_outcome(source: str, day: int = 60) -> None:
        raw = ingest(source=source, layout="oulad")
        stats = statistics(raw.records)

Calls make nodes, attributes are outputs. The function is plain Python over real parameter values:
loops fan out, lists of outputs fan in. Who executes the graph is not known here.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec

from learnloop.artifacts import Artifact
from learnloop.component import MISSING, Component, Json, Parameter, Port, Resources
from learnloop.errors import GraphError, UsageError, closest

if TYPE_CHECKING:
    from learnloop.runner import Run
    from learnloop.settings import Settings

Signature = ParamSpec("Signature")


@dataclass(frozen=True)
class OutputReference:
    """An output of a node: what an edge starts from.

    Args:
        node: The node's name.
        output: The output's name.
        type: The artifact's class.
        optional: Whether the node may leave it empty.
    """

    node: str
    output: str
    type: type[Artifact]
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.node}.{self.output}"


Edge = OutputReference | tuple[OutputReference, ...] | None


@dataclass(frozen=True)
class Node:
    """A step of a pipeline: a component with its inputs and parameters. Its outputs are attributes.

    Args:
        name: The name, unique in the pipeline.
        component: What it executes.
        inputs: Where each input comes from.
        arguments: The validated parameters.
    """

    name: str
    component: Component[...]
    inputs: Mapping[str, Edge]
    arguments: Mapping[str, Any]

    def __getattr__(self, output: str) -> OutputReference:
        if output.startswith("__"):
            raise AttributeError(output)
        port = self.component.outputs.get(output)
        if port is None:
            raise GraphError(
                f"Step '{self.name}' has no output '{output}'.",
                where=self.component.reference,
                expected=closest(output, self.component.outputs),
                received=repr(output),
            )
        return OutputReference(self.name, output, port.type, port.optional)

    @property
    def resources(self) -> Resources:
        """What the step needs."""
        return self.component.resources

    @property
    def upstream(self) -> tuple[str, ...]:
        """Names of the nodes it reads from, each once."""
        return tuple(dict.fromkeys(edge.node for _, edge in self.edges()))

    def edges(self) -> Iterator[tuple[str, OutputReference]]:
        """Go through the connected inputs.

        Yields:
            The input's name and where it comes from.
        """
        for name, edge in self.inputs.items():
            for reference in edge if isinstance(edge, tuple) else (edge,):
                if reference is not None:
                    yield name, reference

    def parameters_json(self) -> dict[str, Json]:
        """The parameters as JSON holds them."""
        known = self.component.parameters
        return {name: known[name].to_json(value) for name, value in self.arguments.items()}


@dataclass(frozen=True)
class Graph:
    """A pipeline with its parameters filled in: nodes in an order in which they can run.

    Args:
        pipeline: The pipeline's name.
        parameters: The pipeline's parameters, as JSON holds them.
        nodes: The nodes by name.
    """

    pipeline: str
    parameters: Mapping[str, Json]
    nodes: Mapping[str, Node]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", _in_order(self.pipeline, self.nodes))

    def node(self, name: str) -> Node:
        """Look up a node.

        Raises:
            UsageError: There is none of this name.
        """
        if name not in self.nodes:
            raise UsageError(
                f"Pipeline '{self.pipeline}' has no step '{name}'.",
                expected=closest(name, self.nodes),
                received=repr(name),
                next=f"learnloop show {self.pipeline}",
            )
        return self.nodes[name]

    def with_ancestors(self, name: str) -> Graph:
        """The part of the graph that a node needs, the node included."""
        wanted = {name}
        for node in reversed(list(self.nodes.values())):
            if node.name in wanted:
                wanted.update(node.upstream)
        kept = {n: node for n, node in self.nodes.items() if n in wanted}
        return replace(self, nodes=kept)


def _in_order(pipeline: str, nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Check every edge and put nodes after what they read."""
    ordered: dict[str, Node] = {}
    waiting = dict(nodes)
    for node in nodes.values():
        for input_name, edge in node.edges():
            if edge.node not in nodes:
                raise GraphError(
                    f"Step '{node.name}' reads from a step that is not in the pipeline.",
                    where=f"{pipeline}, input '{input_name}'",
                    expected=closest(edge.node, nodes),
                    received=repr(edge.node),
                )
    while waiting:
        ready = [n for n in waiting.values() if all(up in ordered for up in n.upstream)]
        if not ready:
            raise GraphError(
                "The steps wait for each other in a circle.",
                where=pipeline,
                received=", ".join(sorted(waiting)),
            )
        for node in ready:
            ordered[node.name] = waiting.pop(node.name)
    return ordered


@dataclass(frozen=True)
class Pipeline(Generic[Signature]):
    """A pipeline: a function that calls components. Made by :func:`pipeline`.

    Args:
        function: The plain function.
        name: Its name.
        parameters: Its parameters by name.
    """

    function: Callable[Signature, None]
    name: str
    parameters: Mapping[str, Parameter]

    @property
    def description(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.function) or ""

    @property
    def reference(self) -> str:
        """``module:function``, by which any machine can load it."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    def validate(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check parameters and fill in defaults.

        Args:
            given: Values by name; text is turned into the parameter's type where that is exact.

        Returns:
            A value for every parameter.

        Raises:
            UsageError: A name is unknown, a value does not fit, or one is missing.
        """
        for name in given:
            if name not in self.parameters:
                raise UsageError(
                    f"Pipeline '{self.name}' has no parameter '{name}'.",
                    expected=closest(name, self.parameters),
                    received=repr(name),
                    next=f"learnloop show {self.name}",
                )
        return _fill(self.parameters, given, f"pipeline '{self.name}'")

    def graph(self, *arguments: Signature.args, **named: Signature.kwargs) -> Graph:
        """Build the graph for these parameters, making every check.

        Args:
            *arguments: The function's positional arguments.
            **named: The function's named arguments.

        Returns:
            The graph.

        Raises:
            UsageError: A parameter is unknown, missing or does not fit.
            GraphError: The graph is not sound.
        """
        values = self.validate(self._by_name(arguments, named))
        nodes: dict[str, Node] = {}
        token = _building.set(nodes)
        try:
            self.function(**values)  # type: ignore[call-arg]  # checked by validate() just above
        finally:
            _building.reset(token)
        if not nodes:
            raise GraphError("A pipeline has at least one step.", where=self.reference)
        parameters = {n: self.parameters[n].to_json(value) for n, value in values.items()}
        return Graph(self.name, parameters, nodes)

    def run(self, *arguments: Signature.args, **named: Signature.kwargs) -> Run:
        """Run the pipeline here, in this process.

        Args:
            *arguments: The function's positional arguments.
            **named: The function's named arguments.

        Returns:
            The ended run: ``run.artifacts["model"].load()``, ``run.report``.
        """
        from learnloop.runner import run_pipeline

        return run_pipeline(self, self._by_name(arguments, named))

    def run_in(self, settings: Settings, **parameters: Any) -> Run:
        """Run the pipeline here with other settings than the project's, as tests do.

        Args:
            settings: Where things are.
            **parameters: The parameters by name.

        Returns:
            The ended run.
        """
        from learnloop.runner import run_pipeline

        return run_pipeline(self, parameters, settings=settings)

    def _by_name(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
        return _by_name(self.parameters, arguments, named, f"pipeline '{self.name}'")


def pipeline(function: Callable[Signature, None]) -> Pipeline[Signature]:
    """Make a pipeline of a function that calls components.

    Args:
        function: A module-level function; every argument has a type.

    Returns:
        The pipeline.

    Raises:
        GraphError: An argument has no type.
    """
    where = f"{function.__module__}:{function.__qualname__}"
    hints = typing.get_type_hints(function, include_extras=True)
    parameters: dict[str, Parameter] = {}
    for name, argument in inspect.signature(function).parameters.items():
        if name not in hints:
            raise GraphError(
                f"Argument '{name}' of a pipeline needs a type.",
                where=where,
                expected=f"{name}: str, int, float, bool …",
            )
        parameters[name] = Parameter(name, hints[name], argument.default)
    return Pipeline(function, function.__name__, parameters)


_building: ContextVar[dict[str, Node] | None] = ContextVar("building", default=None)


def add_node(
    component: Component[...], arguments: tuple[Any, ...], named: Mapping[str, Any]
) -> Node:
    """Add a node to the pipeline that is being built; a component's call comes here.

    Args:
        component: What was called.
        arguments: Its positional arguments: inputs in the signature's order.
        named: Its named arguments.

    Returns:
        The node.

    Raises:
        GraphError: No pipeline is being built, or an argument does not fit.
    """
    nodes = _building.get()
    if nodes is None:
        raise GraphError(
            f"Component '{component.name}' was called outside a pipeline.",
            where=component.reference,
            next=f"call it in a @pipeline function, or call {component.name}.function directly",
        )
    name = component.name
    count = 1
    while name in nodes:
        count += 1
        name = f"{component.name}_{count}"
    where = f"step '{name}' ({component.reference})"
    given = _by_name(component.inputs, arguments, named, where)
    for argument in given:
        if argument not in component.inputs and argument not in component.parameters:
            raise GraphError(
                f"Component '{component.name}' has no input or parameter '{argument}'.",
                where=where,
                expected=closest(argument, [*component.inputs, *component.parameters]),
                received=repr(argument),
            )
    inputs = {n: _read_edge(port, given.get(n), where) for n, port in component.inputs.items()}
    values = {n: value for n, value in given.items() if n in component.parameters}
    node = Node(name, component, inputs, _fill(component.parameters, values, where))
    nodes[name] = node
    return node


def _by_name(
    places: Mapping[str, object], arguments: tuple[Any, ...], named: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Give positional arguments their names, as Python does when it calls a function."""
    if len(arguments) > len(places):
        raise GraphError(
            "There are too many positional arguments.",
            where=where,
            expected=", ".join(places) or "none",
            received=f"{len(arguments)} arguments",
        )
    given = dict(zip(places, arguments, strict=False))
    for name in named:
        if name in given:
            raise GraphError(
                f"Argument '{name}' is given twice.",
                where=where,
                expected="by its place or by its name",
                received="by both",
            )
    return given | dict(named)


def _read_edge(port: Port, value: Any, where: str) -> Edge:
    if value is None:
        if not port.optional:
            raise GraphError(
                f"Input '{port.name}' is missing.",
                where=where,
                expected=f"an output of type {port.type.__name__}",
            )
        return None
    if isinstance(value, (list, tuple)):
        if not port.many:
            raise GraphError(
                f"Input '{port.name}' takes one artifact, not a list.",
                where=where,
                expected=f"one output of type {port.type.__name__}",
                received=f"{len(value)} outputs",
            )
        return tuple(_check_reference(port, member, where) for member in value)
    reference = _check_reference(port, value, where)
    return (reference,) if port.many else reference


def _check_reference(port: Port, value: Any, where: str) -> OutputReference:
    if isinstance(value, Node):
        raise GraphError(
            f"Input '{port.name}' was given a step, not one of its outputs.",
            where=where,
            expected=" or ".join(f"{value.name}.{o}" for o in value.component.outputs),
            received=value.name,
        )
    if not isinstance(value, OutputReference):
        raise GraphError(
            f"Input '{port.name}' takes the output of a step.",
            where=where,
            expected=f"an output of type {port.type.__name__}",
            received=repr(value),
        )
    if not issubclass(value.type, port.type):
        raise GraphError(
            f"Input '{port.name}' takes another type of artifact.",
            where=where,
            expected=port.type.__name__,
            received=f"{value} of type {value.type.__name__}",
        )
    if value.optional and not port.optional:
        raise GraphError(
            f"Input '{port.name}' must be there, but {value} may be left empty.",
            where=where,
            expected=f"an input declared as Input[{port.type.__name__}] | None",
        )
    return value


def _fill(
    parameters: Mapping[str, Parameter], given: Mapping[str, Any], where: str
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in given:
            values[name] = parameter.validate(given[name], where)
        elif parameter.default is MISSING:
            raise UsageError(f"Parameter '{name}' is missing.", where=where, next=f"give {name}=…")
        else:
            values[name] = parameter.validate(parameter.default, where)
    return values
