"""``learnloop features``: what is defined, and what is applied of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feature_store.online.command import register
from learnloop.cli.output import print_json, print_table

if TYPE_CHECKING:
    from feature_store.registry import Change

features_commands = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Define features once; read the same in training and in serving.",
)

register(features_commands)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@features_commands.command("plan")
def plan(json: Json = False) -> None:
    """Show what applying the definitions would change."""
    from feature_store.store import FeatureStore

    _tell_changes(FeatureStore().plan(), json, "would be")


@features_commands.command("apply")
def apply(json: Json = False) -> None:
    """Make the definitions in the code the ones in force."""
    from feature_store.store import FeatureStore

    _tell_changes(FeatureStore().apply(), json, "")


@features_commands.command("list")
def list_(json: Json = False) -> None:
    """List feature views and services, and whether they are applied as they are defined."""
    from feature_store.catalogue import list_definitions
    from feature_store.store import FeatureStore

    found = list_definitions(FeatureStore())
    if json:
        print_json(found)
        return
    print_table(
        ("name", "kind", "version", "state", "features", "owner", "what it is"),
        [
            (
                row["name"],
                row["kind"],
                row["version"],
                row["state"],
                len(row["features"]),
                row["owner"],
                row["description"],
            )
            for row in found
        ],
    )


@features_commands.command("describe")
def describe(
    name: Annotated[str, typer.Argument(help="A feature view or service.")],
    json: Json = False,
    html: Annotated[
        Path | None, typer.Option(help="Write the view's page: distribution, freshness, lineage.")
    ] = None,
    purpose: Annotated[
        str, typer.Option(help="What the page is for, where features are sensitive.")
    ] = "",
) -> None:
    """Show one feature view or service."""
    from feature_store.catalogue import describe_definition
    from feature_store.store import FeatureStore

    store = FeatureStore()
    if html is not None:
        from feature_store.page import write_page

        write_page(store, name, html, purpose)
    found = describe_definition(store, name)
    if json:
        print_json(found)
        return
    for heading, value in found.items():
        if heading != "features" and value not in ("", None, [], {}):
            print(f"{heading + ':':<13}{_told(value)}")
    print()
    print_table(
        ("feature", "type", "sensitivity", "view", "what it is"),
        [
            (f["name"], f["dtype"], f["sensitivity"], f["view"], f["description"])
            for f in found["features"]
        ],
    )


def _tell_changes(changes: Sequence[Change], json: bool, mood: str) -> None:
    """Print changes as a person reads them, or as JSON."""
    if json:
        print_json([vars(change) for change in changes])
        return
    if not changes:
        print("Nothing changed: what is applied is what is defined.")
    signs = {"added": "+", "changed": "~", "removed": "-"}
    for change in changes:
        verb = " ".join(filter(None, (mood, change.action)))
        print(f"{signs[change.action]} {change.kind} {change.name} {verb}")
        for line in change.details:
            print(f"    {line}")


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
