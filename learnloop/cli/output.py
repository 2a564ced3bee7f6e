"""Printing: one object as JSON for scripts, tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

STYLES = {
    "done": "green",
    "cached": "cyan",
    "running": "blue",
    "refused": "yellow",
    "failed": "red",
    "cancelled": "magenta",
    "skipped": "bright_black",
    "pending": "bright_black",
}


def print_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: drawn on a terminal, separated by tabs elsewhere.

    Args:
        columns: The headings; one named ``status`` is coloured.
        rows: The cells.
    """
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(str(cell) for cell in row))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD)
    for row in rows:
        cells = zip(columns, map(str, row), strict=True)
        table.add_row(
            *(Text(cell, STYLES.get(cell, "") if name == "status" else "") for name, cell in cells)
        )
    Console().print(table)


def format_seconds(seconds: float) -> str:
    """Write a duration as a person reads it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def format_moment(moment: datetime | None) -> str:
    """Write a moment in this machine's time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def format_bytes(count: float) -> str:
    """Write a number of bytes as a person reads it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
