"""Finding definitions: the feature views, on-demand views and services of a project.

They are the module-level values of ``<package>/feature_views.py`` and
``<package>/<name>/feature_views.py``, where ``<package>`` is one of the setting ``features``.
Entities and sources are found through the views that use them.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from feature_store.definitions import Definition
from feature_store.gathering import Definitions, gather
from learnloop.discovery import explain_import_faults, make_importable
from learnloop.errors import UsageError
from learnloop.settings import Settings, project_root

MODULE = "feature_views"


def find_definitions(settings: Settings) -> Definitions:
    """Import the project's definitions.

    Args:
        settings: Names the packages to look in.

    Returns:
        Everything defined.

    Raises:
        UsageError: A module does not import, or two definitions have one name.
    """
    make_importable()
    found: list[Definition] = []
    for name in definition_modules(settings):
        with explain_import_faults(name):
            module = importlib.import_module(name)
        found += [value for value in vars(module).values() if isinstance(value, Definition)]
    return gather(found)


def definition_modules(settings: Settings) -> list[str]:
    """List the modules with definitions, sorted.

    Args:
        settings: Names the packages to look in.

    Raises:
        UsageError: There is no such package.
    """
    modules = []
    for package in settings.features:
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            spec = None
        if spec is None:
            raise UsageError(
                f"There is no package '{package}' with feature views.",
                where=f"the setting 'features', under {project_root()}",
                expected="a package that can be imported",
                received=repr(package),
            )
        for folder in map(Path, spec.submodule_search_locations or ()):
            if (folder / f"{MODULE}.py").is_file():
                modules.append(f"{package}.{MODULE}")
            modules += [
                f"{package}.{path.parent.name}.{MODULE}" for path in folder.glob(f"*/{MODULE}.py")
            ]
    return sorted(modules)
