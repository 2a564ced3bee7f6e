"""Parameters: what is not an artifact. JSON-able values, curated files and references to code.

A value is validated against its annotation by pydantic, so that text from a command line or a form
becomes the type where that is exact, and a form can be drawn of the type.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnloop.errors import UsageError, closest
from learnloop.settings import project_root

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Json = Any
"""A value that JSON can hold: None, bool, int, float, str, list, dict."""

MISSING: Any = inspect.Parameter.empty
_PASSWORD_IN_URL = re.compile(r"\w+://[^/\s:@]*:[^/\s@]+@")


class _TextValue:
    """A value that JSON holds as one string; pydantic validates it from and dumps it to that."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        from_text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.json_or_python_schema(
            json_schema=from_text,
            python_schema=core_schema.union_schema(
                [core_schema.is_instance_schema(cls), from_text]
            ),
            serialization=core_schema.to_string_ser_schema(),
        )


@dataclass(frozen=True)
class File(_TextValue):
    """A curated file of the project (a schema, a suite of expectations), entering keys by content.

    Args:
        name: The path, absolute or relative to the project's root.
    """

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """The file's place on this machine."""
        return project_root() / self.name

    def read_text(self) -> str:
        """Read the file as UTF-8 text.

        Raises:
            UsageError: There is no such file.
        """
        if not self.path.is_file():
            raise UsageError("A curated file is missing.", where=self.path)
        return self.path.read_text(encoding="utf-8")


@dataclass(frozen=True)
class CodeReference(_TextValue):
    """A function of the project, named so that a step on any machine can load it.

    It enters cache keys by the digest of its code and of all project code that it imports.

    Args:
        target: ``package.module:function``.
    """

    target: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.]+:\w+", self.target):
            raise UsageError(
                "A code reference names a module and a function in it.",
                expected="package.module:function",
                received=repr(self.target),
            )

    def __str__(self) -> str:
        return self.target

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.target.partition(":")[0]

    def load(self) -> Callable[..., Any]:
        """Import the function.

        Raises:
            UsageError: There is no such module or function.
        """
        loaded = load_object(self.target)
        if not callable(loaded):
            raise UsageError("A code reference names a function.", received=self.target)
        return typing.cast("Callable[..., Any]", loaded)


def load_object(target: str) -> Any:
    """Import what ``package.module:name`` names.

    Args:
        target: The module and the name in it.

    Returns:
        The object.

    Raises:
        UsageError: There is no such module or name.
    """
    module_name, _, name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as fault:
        if fault.name and not module_name.startswith(fault.name):
            raise
        raise UsageError(
            f"There is no module '{module_name}'.",
            where=target,
            next="check the name, and that the project's root is on PYTHONPATH",
        ) from None
    if not hasattr(module, name):
        raise UsageError(
            f"Module '{module_name}' has no '{name}'.",
            where=module.__file__ or module_name,
            expected=closest(name, (n for n in vars(module) if not n.startswith("_"))),
            received=repr(name),
        )
    return getattr(module, name)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a component or a pipeline.

    Args:
        name: The argument's name.
        annotation: Its type.
        default: Its default, or :data:`MISSING`.
    """

    name: str
    annotation: Any
    default: Any = MISSING

    def validate(self, value: Any, where: str) -> Any:
        """Check a value against the type, turning text into the type where that is exact.

        Args:
            value: What was given.
            where: Whose parameter it is, for the error.

        Returns:
            The value, as the type has it.

        Raises:
            UsageError: The value does not fit, or holds a password.
        """
        from pydantic import ValidationError

        if isinstance(value, str) and _PASSWORD_IN_URL.search(value):
            raise UsageError(
                "A parameter must not hold a password: parameters are recorded and shown.",
                where=f"{where}, parameter '{self.name}'",
                expected="the name of a connection",
                received="a URL with a password in it",
                next=f"export LEARNLOOP_CONNECTION_{self.name.upper()}=<URL>, and give the name",
            )
        try:
            if isinstance(value, str) and value[:1] in "[{" and not _takes_text(self.annotation):
                return self._adapter.validate_json(value)
            return self._adapter.validate_python(value)
        except ValidationError as fault:
            raise UsageError(
                f"Parameter '{self.name}' does not fit: {fault.errors()[0]['msg']}.",
                where=where,
                expected=type_name(self.annotation),
                received=repr(value),
            ) from None

    def to_json(self, value: Any) -> Json:
        """Turn a validated value into what JSON holds."""
        return self._adapter.dump_python(value, mode="json")

    def json_schema(self) -> dict[str, Any]:
        """Describe the type as JSON Schema, for forms."""
        from pydantic import TypeAdapter

        annotation = self.annotation
        if annotation in (File, CodeReference):
            annotation = str
        return TypeAdapter(annotation).json_schema()

    @functools.cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        """Built once: that takes far longer than using it."""
        from pydantic import TypeAdapter

        return TypeAdapter(self.annotation)


def type_name(annotation: Any) -> str:
    """Name a type as a person would write it."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return re.sub(r"\b(?:learnloop|typing|collections)\.(?:[a-z_]+\.)*", "", str(annotation))


def _takes_text(annotation: Any) -> bool:
    """Tell whether a str is a value of this type as it stands."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_takes_text(member) for member in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Literal:
        return all(isinstance(choice, str) for choice in typing.get_args(annotation))
    return annotation is Any or (
        isinstance(annotation, type) and issubclass(annotation, (str, _TextValue, Path))
    )
