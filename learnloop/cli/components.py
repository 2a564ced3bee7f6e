"""``learnloop components``: the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.cli.output import print_json, print_table


def components(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the component library: what each reads, makes and takes."""
    from learnloop.catalogue import list_components

    found = list_components()
    if json:
        print_json(found)
        return
    print_table(
        ("component", "reads", "makes", "what it does"),
        [(c["name"], ", ".join(c["inputs"]), ", ".join(c["outputs"]), c["summary"]) for c in found],
    )
