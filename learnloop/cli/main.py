"""The entry: finds the command, runs it, and turns errors into words and exit codes.

Exit codes: 0 done, 1 a gate refused, 2 bad usage or input, 3 a fault.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from learnloop import __version__
from learnloop.errors import LearnLoopError, UsageError, closest

COMMANDS = {
    "new": "learnloop.cli.new:new",
    "run": "learnloop.cli.run:run",
    "runs": "learnloop.cli.runs:runs",
    "show": "learnloop.cli.show:show",
    "logs": "learnloop.cli.logs:logs",
    "cancel": "learnloop.cli.cancel:cancel",
    "why": "learnloop.cli.why:why",
    "lineage": "learnloop.cli.lineage:lineage",
    "gc": "learnloop.cli.gc:gc",
    "components": "learnloop.cli.components:components",
    "dag": "learnloop.cli.dag:dag",
    "metrics": "learnloop.cli.metrics:metrics",
}
"""The framework's commands. Other packages add theirs by the entry point ``learnloop.commands``."""


class _Commands(TyperGroup):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(_targets())

    def get_command(self, ctx: Any, name: str) -> Any:
        target = _targets().get(name)
        if target is None:
            raise UsageError(
                f"There is no command '{name}'.",
                expected=closest(name, _targets()),
                received=repr(name),
                next="learnloop --help",
            )
        module, _, function = target.partition(":")
        loaded = getattr(importlib.import_module(module), function)
        if not isinstance(loaded, typer.Typer):
            command = loaded
            loaded = typer.Typer(add_completion=False, rich_markup_mode=None)
            loaded.command(name)(command)
        made = typer.main.get_command(loaded)
        made.name = name
        return made


def _targets() -> dict[str, str]:
    added = importlib.metadata.entry_points(group="learnloop.commands")
    return {**{point.name: point.value for point in added}, **COMMANDS}


application = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Keep a learning platform's models good while the platform runs.",
)


@application.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: The words after ``learnloop``; those of this process when None.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    try:
        application(None if arguments is None else list(arguments), prog_name="learnloop")
    except LearnLoopError as fault:
        print(fault, file=sys.stderr)
        sys.exit(fault.exit_code)
