"""Cache keys: what a step's result depends on, named part by part.

A key is made of the component and the project code in its static import closure, the parameters
(with the content of files and the code of functions they name), the content digests of the inputs,
the state outside that the component resolved, and the versions of the libraries that the closure
imports. The parts are kept beside the key, so that ``learnloop why`` can name what changed.

*Project code* is every imported module outside the standard library and outside ``site-packages``.
It counts by its syntax tree: comments and layout do not. The framework itself counts by
:data:`FRAMEWORK_FORMAT`, so that a change of the command line re-runs nothing. An import by a
computed name cannot be seen here; it is refused unless the component declares it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnloop.artifacts import digest_file
from learnloop.component import CodeReference, Component, File, Json
from learnloop.errors import GraphError, UsageError

FRAMEWORK = "learnloop"
FRAMEWORK_FORMAT = 1
"""Raised when a change of the framework can change what a step makes."""

_DISTRIBUTIONS = {
    "google.protobuf": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "opentelemetry": "opentelemetry-api",
    "sklearn": "scikit-learn",
    "tensorflow_serving": "tensorflow-serving-api",
    "yaml": "PyYAML",
}
"""Import names unlike their distribution's, spared the half second of a search through all."""

_DYNAMIC_IMPORTS = ("importlib.import_module", "import_module", "__import__")


@dataclass(frozen=True)
class Fingerprint:
    """A cache key with its parts.

    Args:
        key: A SHA-256 over the parts, in hexadecimal.
        parts: What the key was made of, by name: flat, so that two can be compared.
    """

    key: str
    parts: Mapping[str, str]


def describe_changes(earlier: Mapping[str, str], later: Mapping[str, str]) -> list[str]:
    """Name the parts of a key that differ between two executions.

    Args:
        earlier: The older parts.
        later: The newer parts.

    Returns:
        One sentence per difference, sorted by part.

    Example:
        >>> describe_changes({"parameter epochs": "40"}, {"parameter epochs": "50"})
        ['parameter epochs changed: 40 → 50']
    """
    sentences = []
    for part in sorted({*earlier, *later}):
        before, after = earlier.get(part), later.get(part)
        if before == after:
            continue
        if before is None:
            sentences.append(f"{part} is new: {_short(after)}")
        elif after is None:
            sentences.append(f"{part} is gone: {_short(before)}")
        else:
            sentences.append(f"{part} changed: {_short(before)} → {_short(after)}")
    return sentences


def fingerprint_step(
    component: Component[...],
    arguments: Mapping[str, Any],
    inputs: Mapping[str, str],
    resolved: Mapping[str, Json],
) -> Fingerprint:
    """Make a step's cache key.

    Args:
        component: What is executed.
        arguments: Its validated parameters.
        inputs: Content digest by input name (several digests joined by spaces for a fan-in).
        resolved: The state outside, as the component's ``resolve`` told it.

    Returns:
        The key with its parts.

    Raises:
        GraphError: The code imports by a computed name without declaring it.
        UsageError: A curated file is missing.
    """
    closure = import_closure(component.function.__module__, component.dynamic_imports)
    modules = dict(closure.modules)
    libraries = set(closure.libraries)
    parts = {"component": component.reference, "framework format": str(FRAMEWORK_FORMAT)}
    for name, value in arguments.items():
        parts[f"parameter {name}"] = json.dumps(
            component.parameters[name].to_json(value), sort_keys=True
        )
        for member in _members(value):
            if isinstance(member, File):
                parts[f"file {member.name}"] = _digest_curated(member)
            elif isinstance(member, CodeReference):
                code = import_closure(member.module)
                modules.update(code.modules)
                libraries.update(code.libraries)
    parts.update({f"code {module}": digest for module, digest in modules.items()})
    parts.update({f"library {name}": version_of(name) for name in libraries})
    parts["library python"] = f"{sys.version_info.major}.{sys.version_info.minor}"
    parts.update({f"input {name}": digest for name, digest in inputs.items()})
    for name, value in resolved.items():
        parts[f"outside {name}"] = json.dumps(value, sort_keys=True)
    document = json.dumps(parts, sort_keys=True)
    return Fingerprint(hashlib.sha256(document.encode()).hexdigest(), parts)


def code_digest(reference: CodeReference) -> str:
    """Digest a function's code: its module and all project code that the module imports.

    Args:
        reference: The function.

    Returns:
        A SHA-256 in hexadecimal.
    """
    closure = import_closure(reference.module)
    document = json.dumps([reference.target, closure.modules], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()


@dataclass(frozen=True)
class ImportClosure:
    """What a module reaches by imports.

    Args:
        modules: Code digest by project module.
        libraries: Top-level names of the libraries imported.
    """

    modules: Mapping[str, str]
    libraries: frozenset[str]


def import_closure(module: str, dynamic_imports: tuple[str, ...] = ()) -> ImportClosure:
    """Follow a module's imports, those inside functions too, through the project's code.

    Args:
        module: The dotted name to start from.
        dynamic_imports: Further modules, imported by computed names.

    Returns:
        The project modules with their digests, and the libraries at the border.

    Raises:
        GraphError: The module is not found, or imports by a computed name undeclared.
    """
    modules: dict[str, str] = {}
    libraries: set[str] = set()
    waiting = [module, *dynamic_imports]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        top = name.partition(".")[0]
        if top == FRAMEWORK or top in sys.stdlib_module_names:
            continue
        if not _is_project(top):
            libraries.add("google.protobuf" if name.startswith("google.protobuf") else top)
            continue
        for parent in _parents(name):
            waiting.append(parent)
        path = _module_file(name)
        if path is None:
            if name == module:
                raise GraphError("A step's module has no source file.", where=name)
            continue
        source = _read_source(path.read_bytes(), str(path), name, path.name == "__init__.py")
        if source.computed_import_line and not dynamic_imports:
            raise GraphError(
                "A step's code imports by a computed name, which a cache key cannot see.",
                where=f"{path}:{source.computed_import_line}",
                expected="a plain import, or @component(dynamic_imports=(…))",
            )
        modules[name] = source.digest
        waiting.extend(source.imports)
    return ImportClosure(dict(sorted(modules.items())), frozenset(libraries))


@dataclass(frozen=True)
class _Source:
    digest: str
    imports: tuple[str, ...]
    computed_import_line: int


def read_code(component: Component[...], arguments: Mapping[str, Any]) -> None:
    """Read what a step's key needs of the project's code, so that making the key parses nothing.

    A runner with threads calls this before it starts them: two threads that parse at once, one of
    them perhaps TensorFlow's AutoGraph, break each other in Python before 3.11.8
    (https://github.com/python/cpython/issues/106905).

    Args:
        component: What will be executed.
        arguments: Its parameters.

    Raises:
        GraphError: The code imports by a computed name without declaring it.
    """
    import_closure(component.function.__module__, component.dynamic_imports)
    for value in arguments.values():
        for member in _members(value):
            if isinstance(member, CodeReference):
                import_closure(member.module)


@functools.lru_cache(maxsize=4096)
def _read_source(content: bytes, path: str, module: str, is_package: bool) -> _Source:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as fault:
        raise UsageError(f"A module does not parse: {fault}.", where=path) from None
    package = module if is_package else module.rpartition(".")[0]
    imports: list[str] = []
    computed = 0
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            imports.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            imports.append(base)
            imports.extend(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in _DYNAMIC_IMPORTS:
            target = node.args[0] if node.args else None
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                imports.append(target.value)
            else:
                computed = node.lineno
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Source(digest, tuple(imports), computed)


def _executed(tree: ast.Module) -> Iterator[ast.AST]:
    """Walk the tree, leaving out what runs for type checkers only."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1])
    return f"{base}.{node.module}" if node.module else base


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _is_project(top: str) -> bool:
    return any(not _is_installed(place) for place in _places(top))


@functools.cache
def _library_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({str(Path(sysconfig.get_paths()[name]).resolve()) for name in names})


@functools.lru_cache(maxsize=4096)
def _is_installed(place: Path) -> bool:
    resolved = str(place.resolve())
    return "site-packages" in resolved or resolved.startswith(_library_folders())


def _places(top: str) -> tuple[Path, ...]:
    """Where a top-level name lives: its package folders, or its file; nowhere if it is absent."""
    try:
        return _find_places(top, tuple(sys.path))
    except LookupError:
        return ()


@functools.lru_cache(maxsize=4096)
def _find_places(top: str, search_path: tuple[str, ...]) -> tuple[Path, ...]:
    """Search once; what is absent is searched for again, for it may come."""
    module = sys.modules.get(top)
    try:
        spec = module.__spec__ if module is not None else importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise LookupError(top)
    if spec.submodule_search_locations is not None:
        return tuple(Path(place) for place in spec.submodule_search_locations)
    if spec.origin and spec.has_location:
        return (Path(spec.origin),)
    raise LookupError(top)


def _module_file(name: str) -> Path | None:
    top, _, rest = name.partition(".")
    for place in _places(top):
        if place.suffix == ".py":
            return place if not rest else None
        target = f"{place}/{rest.replace('.', '/')}" if rest else str(place)
        for candidate in (f"{target}/__init__.py", f"{target}.py" if rest else ""):
            # Most names are no module's: asked a thousand times a run, and pathlib is slow.
            if os.path.isfile(candidate):  # noqa: PTH113
                return Path(candidate)
    return None


@functools.cache
def version_of(library: str) -> str:
    """Find the installed version of a library.

    Args:
        library: Its top-level import name.

    Returns:
        The version of the distribution, of several joined by spaces; "absent" if not installed.
    """
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(library, library))
    except importlib.metadata.PackageNotFoundError:
        pass
    names = _distributions_by_import().get(library, ())
    return " ".join(f"{n} {importlib.metadata.version(n)}" for n in names) or "absent"


@functools.cache
def _distributions_by_import() -> dict[str, list[str]]:
    found = importlib.metadata.packages_distributions()
    return {name: sorted(set(distributions)) for name, distributions in found.items()}


def _digest_curated(file: File) -> str:
    if not file.path.is_file():
        raise UsageError("A curated file is missing.", where=file.path)
    return digest_file(file.path)


def _members(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, Mapping):
        for member in value.values():
            yield from _members(member)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for member in value:
            yield from _members(member)


def _short(value: str | None) -> str:
    text = value or ""
    is_digest = len(text) == 64 and all(c in "0123456789abcdef" for c in text)
    return text[:12] if is_digest else text if len(text) <= 80 else text[:77] + "…"
