"""The catalogue of components: read from their signatures, for the command line and the docs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any

from learnloop.component import MISSING, Component, Port, type_name

LIBRARIES = ("components",)


def list_components(packages: Iterable[str] = LIBRARIES) -> list[dict[str, Any]]:
    """Describe every component of the library.

    Args:
        packages: Packages whose modules define components.

    Returns:
        Name, import line, summary, inputs, outputs and parameters of each, sorted by name.
    """
    found: dict[str, dict[str, Any]] = {}
    for package in packages:
        root = importlib.import_module(package)
        for module in pkgutil.iter_modules(root.__path__):
            if module.ispkg:
                continue
            name = f"{package}.{module.name}"
            for value in vars(importlib.import_module(name)).values():
                if isinstance(value, Component) and value.function.__module__ == name:
                    found[value.name] = describe_component(value)
    return [found[name] for name in sorted(found)]


def describe_component(component: Component[...]) -> dict[str, Any]:
    """Describe one component as JSON holds it.

    Args:
        component: The component.
    """
    return {
        "name": component.name,
        "import": f"from {component.function.__module__} import {component.name}",
        "summary": component.summary,
        "inputs": {name: _port(port) for name, port in component.inputs.items()},
        "outputs": {name: _port(port) for name, port in component.outputs.items()},
        "parameters": {
            name: {
                "type": type_name(parameter.annotation),
                **({} if parameter.default is MISSING else {"default": _plain(parameter.default)}),
            }
            for name, parameter in component.parameters.items()
        },
    }


def _port(port: Port) -> str:
    name = f"list of {port.type.__name__}" if port.many else port.type.__name__
    return f"{name} (optional)" if port.optional else name


def _plain(value: Any) -> Any:
    is_plain = value is None or isinstance(value, (bool, int, float, str, list, dict))
    return value if is_plain else list(value) if isinstance(value, tuple) else str(value)


def write_catalogue() -> str:
    """Write the catalogue as a Markdown page; ``make docs`` keeps it beside the guides."""
    sections = [
        "# Components\n\nThe component library, generated from the signatures by `make docs`.\n"
    ]
    for found in list_components():
        lines = [f"## {found['name']}\n", found["summary"] + "\n", f"    {found['import']}\n"]
        for title, part in (("reads", "inputs"), ("makes", "outputs")):
            ports = ", ".join(f"`{name}`: {kind}" for name, kind in found[part].items())
            lines.append(f"- {title}: {ports or 'nothing'}")
        if found["parameters"]:
            lines += ["", "| parameter | type | default |", "|---|---|---|"]
        for name, parameter in found["parameters"].items():
            default = f"`{parameter['default']!r}`" if "default" in parameter else "required"
            kind = parameter["type"].replace("|", "\\|")
            lines.append(f"| `{name}` | `{kind}` | {default} |")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


if __name__ == "__main__":
    print(write_catalogue(), end="")
