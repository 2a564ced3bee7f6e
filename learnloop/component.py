"""The contract of a component: a typed plain function whose signature is its specification.

``@component`` reads the signature and returns a frozen :class:`Component`. Called inside a pipeline
it makes a :class:`~learnloop.pipeline.Node`; its ``.function`` is the plain function, which a test
calls with artifacts made in a temporary folder::

    @component
    def evaluate(
        model: Input[Model],
        examples: Input[Examples],
        champion: Input[Model] | None,
        evaluation: Output[Evaluation],
        *,
        min_auc: float = 0.70,
    ) -> None: ...

Artifacts are positional, in any order. Everything else is a keyword-only parameter: a JSON-able
value, a :class:`File` or a :class:`CodeReference`. Nothing is executed here.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, ParamSpec, Protocol, TypeVar

from learnloop.artifacts import Artifact
from learnloop.errors import GraphError
from learnloop.parameters import (
    MISSING,
    CodeReference,
    File,
    Json,
    Parameter,
    load_object,
    type_name,
)
from learnloop.settings import Settings

if TYPE_CHECKING:
    from learnloop.pipeline import Node

__all__ = [
    "MISSING",
    "CheckTarget",
    "CodeReference",
    "Component",
    "Context",
    "File",
    "Input",
    "Json",
    "Output",
    "Parameter",
    "Port",
    "Report",
    "Resolve",
    "Resources",
    "component",
    "load_object",
    "type_name",
]

Signature = ParamSpec("Signature")
AnyArtifact = TypeVar("AnyArtifact")


class _Reads:
    """Marks an input."""


class _Writes:
    """Marks an output."""


Input = Annotated[AnyArtifact, _Reads()]
"""An artifact the component reads. ``| None`` makes it optional; ``list[Input[T]]`` takes many."""

Output = Annotated[AnyArtifact, _Writes()]
"""An artifact the component writes. ``| None`` allows it to be left empty."""


@dataclass(frozen=True)
class Resources:
    """What a step needs and how it may fail.

    Every runner honours retries and timeouts, Airflow the pool. Cores and memory are reserved where
    Airflow runs each task in a pod of its own; the local runner and other executors share what the
    machine has.

    Args:
        cpus: Processor cores.
        memory_gib: Memory, in GiB.
        retries: Further attempts after a fault (never after a refusal or bad input).
        retry_delay_seconds: The pause before each of them.
        timeout_seconds: The longest an attempt may take; None for no bound.
        pool: The Airflow pool.
    """

    cpus: float = 1.0
    memory_gib: float = 2.0
    retries: int = 0
    retry_delay_seconds: float = 10.0
    timeout_seconds: float | None = None
    pool: str = "default_pool"


class Report(Protocol):
    """Takes progress: a short text and numbers (``done``, ``total``, ``rows_per_second`` …)."""

    def __call__(self, text: str, /, **numbers: float) -> None:
        """Tell how far the step is."""


@dataclass(frozen=True)
class Context:
    """What a component may know of the run it is part of.

    Args:
        run_id: The run.
        pipeline: The pipeline's name.
        step: The node's name.
        key: The execution's cache key, in hexadecimal.
        scratch: A folder kept for this key, also when an attempt is killed: checkpoints go there.
        settings: Where things are.
        report: Takes progress; raises :class:`~learnloop.errors.RunCancelled` on a cancelled run.
        lineage: Content digests of the inputs, by input name.
    """

    run_id: str
    pipeline: str
    step: str
    key: str
    scratch: Path
    settings: Settings
    report: Report
    lineage: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def for_test(cls, scratch: Path, settings: Settings | None = None) -> Context:
        """Make a context for calling a component's function by hand.

        Args:
            scratch: An existing folder.
            settings: Where things are; the defaults when None.

        Returns:
            A context that reports to nobody.
        """
        return cls(
            run_id="by-hand",
            pipeline="by_hand",
            step="by_hand",
            key="0" * 64,
            scratch=scratch,
            settings=settings or Settings(),
            report=_tell_nobody,
        )


def _tell_nobody(text: str, /, **numbers: float) -> None:
    """Take progress that nobody watches."""


@dataclass(frozen=True)
class Port:
    """An input or output of a component.

    Args:
        name: The argument's name.
        type: The artifact's class.
        optional: Whether it may be absent.
        many: Whether an input takes several artifacts.
    """

    name: str
    type: type[Artifact]
    optional: bool = False
    many: bool = False


Resolve = Callable[[Mapping[str, Any], Settings], Mapping[str, Json]]
CheckTarget = Callable[[Mapping[str, Artifact], Settings], str]


@dataclass(frozen=True)
class Component(Generic[Signature]):
    """A component: a function with its specification. Made by :func:`component`.

    Args:
        function: The plain function.
        name: The function's name, and the default name of its nodes.
        inputs: What it reads, by name.
        outputs: What it writes, by name.
        parameters: Its parameters, by name.
        takes_context: Whether it has a ``context`` parameter.
        resources: What it needs.
        resolve: Tells the state outside that the result depends on; it enters the key.
        check_target: Tells whether effects outside the store still hold; see :func:`component`.
        dynamic_imports: Modules it imports by computed names.
    """

    function: Callable[Signature, None]
    name: str
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    parameters: Mapping[str, Parameter]
    takes_context: bool
    resources: Resources
    resolve: Resolve | None = None
    check_target: CheckTarget | None = None
    dynamic_imports: tuple[str, ...] = ()

    def __call__(self, *arguments: Any, **named: Any) -> Node:
        """Add a node to the pipeline that is being built.

        Args:
            *arguments: Outputs of other nodes, in the order of the signature's inputs.
            **named: Inputs and parameters by name.

        Returns:
            The node; its attributes are its outputs.

        Raises:
            GraphError: No pipeline is being built, or the arguments do not fit.
        """
        from learnloop.pipeline import add_node

        return add_node(self, arguments, named)

    def named(self, name: str) -> Component[Signature]:
        """The same component, for a node of another name.

        Args:
            name: The node's name.
        """
        return dataclasses.replace(self, name=name)

    def needing(self, **resources: Any) -> Component[Signature]:
        """The same component with other :class:`Resources`.

        Args:
            **resources: The fields to change.
        """
        changed = dataclasses.replace(self.resources, **resources)
        return dataclasses.replace(self, resources=changed)

    @property
    def reference(self) -> str:
        """``module:function``, by which any machine can load it."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]


@typing.overload
def component(function: Callable[Signature, None], /) -> Component[Signature]: ...
@typing.overload
def component(
    *,
    resources: Resources = ...,
    resolve: Resolve | None = ...,
    check_target: CheckTarget | None = ...,
    dynamic_imports: tuple[str, ...] = ...,
) -> Callable[[Callable[Signature, None]], Component[Signature]]: ...
def component(
    function: Callable[Signature, None] | None = None,
    /,
    *,
    resources: Resources = Resources(),
    resolve: Resolve | None = None,
    check_target: CheckTarget | None = None,
    dynamic_imports: tuple[str, ...] = (),
) -> Any:
    """Make a component of a typed function.

    Args:
        function: A module-level function that returns None.
        resources: What a step of it needs.
        resolve: ``resolve(arguments, settings)`` gives the state outside (the digest of a source,
            the version behind an alias) that the result depends on. It is asked before every
            execution and enters the cache key. The arguments are the parameters, and the content
            digest of each input (``absent`` for one that is not there).
        check_target: For effects outside the store: ``check_target(outputs, settings)`` gives "" if
            the effect is as recorded, else a sentence why the step must act again.
        dynamic_imports: Modules that the function imports by computed names; importing by a
            computed name without declaring it is refused, since the cache key could not see it.

    Returns:
        The component.

    Raises:
        GraphError: The signature is not a component's.

    Example:
        >>> from learnloop.artifacts import Examples
        >>> @component
        ... def count(examples: Input[Examples], *, split: str = "train") -> None:
        ...     "Count rows."
        >>> count.inputs["examples"].type.__name__, count.parameters["split"].default
        ('Examples', 'train')
    """

    def decorate(function: Callable[Signature, None]) -> Component[Signature]:
        ports, parameters, takes_context = _read_signature(function)
        return Component(
            function=function,
            name=function.__name__,
            inputs={port.name: port for port, marker in ports if isinstance(marker, _Reads)},
            outputs={port.name: port for port, marker in ports if isinstance(marker, _Writes)},
            parameters=parameters,
            takes_context=takes_context,
            resources=resources,
            resolve=resolve,
            check_target=check_target,
            dynamic_imports=dynamic_imports,
        )

    return decorate if function is None else decorate(function)


def _read_signature(
    function: Callable[..., None],
) -> tuple[list[tuple[Port, _Reads | _Writes]], dict[str, Parameter], bool]:
    where = f"{function.__module__}:{function.__qualname__}"
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as fault:
        raise GraphError(
            f"A component's types must be importable: {fault}.",
            where=where,
            next="import the type at the top of the module, not under TYPE_CHECKING",
        ) from None
    if hints.pop("return", MISSING) is not type(None):
        raise GraphError("A component returns None.", where=where, expected="-> None")
    ports: list[tuple[Port, _Reads | _Writes]] = []
    parameters: dict[str, Parameter] = {}
    takes_context = False
    for name, argument in inspect.signature(function).parameters.items():
        annotation = hints.get(name, MISSING)
        if annotation is MISSING:
            raise GraphError(
                f"Argument '{name}' of a component needs a type.",
                where=where,
                expected=f"{name}: Input[...], Output[...] or a parameter's type",
            )
        port = _read_port(name, annotation)
        if port is not None:
            _check_port(port[0], where)
            ports.append(port)
        elif argument.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise GraphError(
                f"Argument '{name}' is not an artifact, so it must be keyword-only.",
                where=where,
                expected="parameters after '*'",
                received=f"{name}: {type_name(annotation)} before it",
            )
        elif annotation is Context:
            takes_context = True
        else:
            parameters[name] = Parameter(name, annotation, argument.default)
    return ports, parameters, takes_context


def _read_port(name: str, annotation: Any) -> tuple[Port, _Reads | _Writes] | None:
    optional = many = False
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [m for m in typing.get_args(annotation) if m is not type(None)]
        if len(members) != 1:
            return None
        annotation, optional = members[0], True
    if typing.get_origin(annotation) is list:
        annotation, many = typing.get_args(annotation)[0], True
    for marker in getattr(annotation, "__metadata__", ()):
        if isinstance(marker, (_Reads, _Writes)):
            return Port(name, annotation.__origin__, optional, many), marker
    return None


def _check_port(port: Port, where: str) -> None:
    if not (isinstance(port.type, type) and issubclass(port.type, Artifact)):
        raise GraphError(
            f"'{port.name}' is not typed as an artifact.",
            where=where,
            expected="a class derived from learnloop.artifacts.Artifact",
            received=type_name(port.type),
        )
