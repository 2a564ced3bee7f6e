"""Finding pipelines by name, without importing those that are not asked for.

A pipeline ``name`` lives in ``<package>/name/pipeline.py`` or ``<package>/name.py``, where
``<package>`` is one of the setting ``pipelines``. Its module defines a :class:`Pipeline` ``name``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from learnloop.component import load_object
from learnloop.errors import LearnLoopError, UsageError, closest
from learnloop.pipeline import Pipeline
from learnloop.settings import Settings, project_root


def pipeline_modules(settings: Settings) -> dict[str, str]:
    """List the pipelines of this project.

    Args:
        settings: Names the packages to look in.

    Returns:
        Module by pipeline name, sorted by name.
    """
    make_importable()
    modules: dict[str, str] = {}
    for package in settings.pipelines:
        spec = importlib.util.find_spec(package)
        for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
            for path in folder.iterdir():
                if (path / "pipeline.py").is_file():
                    modules[path.name] = f"{package}.{path.name}.pipeline"
                elif path.suffix == ".py" and not path.name.startswith("_"):
                    modules[path.stem] = f"{package}.{path.stem}"
    return dict(sorted(modules.items()))


def load_pipeline(name: str, settings: Settings) -> Pipeline[...]:
    """Import one pipeline.

    Args:
        name: The pipeline's name.
        settings: Names the packages to look in.

    Returns:
        The pipeline.

    Raises:
        UsageError: There is none of this name.
    """
    modules = pipeline_modules(settings)
    if name not in modules:
        raise UsageError(
            f"There is no pipeline '{name}'.",
            where=f"packages {', '.join(settings.pipelines)} under {project_root()}",
            expected=closest(name, modules),
            received=repr(name),
            next=f"learnloop new {name}",
        )
    with explain_import_faults(modules[name]):
        found = load_object(f"{modules[name]}:{name}")
    if not isinstance(found, Pipeline):
        raise UsageError(
            f"'{name}' is not a pipeline.",
            where=modules[name],
            expected=f"a function {name} decorated with @pipeline",
            received=type(found).__name__,
        )
    return found


@contextlib.contextmanager
def explain_import_faults(module: str) -> Iterator[None]:
    """Tell an author where their module breaks, without a traceback.

    Args:
        module: What is imported.

    Raises:
        UsageError: The module, or one that it imports, does not import.
    """
    try:
        yield
    except LearnLoopError:
        raise
    except Exception as fault:
        raise UsageError(
            f"'{module}' cannot be imported: {type(fault).__name__}: {fault}",
            where=_last_place(fault),
            next=f"python -c 'import {module}' shows the whole way there",
        ) from fault


def _last_place(fault: Exception) -> str:
    if isinstance(fault, SyntaxError):
        return f"{fault.filename}:{fault.lineno}"
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def make_importable() -> None:
    """Put the project's root on the import path, first of all, if it is not there."""
    root = str(project_root())
    if root not in sys.path:
        sys.path.insert(0, root)
