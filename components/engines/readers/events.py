"""Layout ``events``: learner events as ``learnloop events collect`` leaves them, a table a kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from components.engines.readers.parquet_layout import read_parts
from components.engines.readers.tables import Layout, Options, SourceTable

NAME = re.compile(r"(assessment|attempt|click|enrolment)/hour=[^/]+/[^/]+\.parquet")
KEY = ("source", "sequence")
"""What names an event, wherever it was told."""


def _tables(files: Mapping[str, Path], options: Options) -> tuple[SourceTable, ...]:
    from messaging.events.schema import part_schema

    parts: dict[str, list[Path]] = {}
    for name, path in sorted(files.items()):
        parts.setdefault(name.partition("/")[0], []).append(path)
    return tuple(
        SourceTable(
            kind, part_schema(kind), partial(read_parts, paths, part_schema(kind), kind, KEY)
        )
        for kind, paths in parts.items()
    )


EVENTS = Layout(
    wants=lambda name: NAME.fullmatch(name) is not None,
    expects="KIND/hour=…/*.parquet, as learnloop events collect writes them",
    tables=_tables,
)
