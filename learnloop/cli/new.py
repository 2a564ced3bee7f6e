"""``learnloop new``: a pipeline that runs as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new(
    name: Annotated[str, typer.Argument(help="The pipeline's name, for example exam_risk.")],
    source: Annotated[
        Path | None, typer.Option(help="A CSV file to learn from; a sample when left out.")
    ] = None,
    learner: Annotated[str, typer.Option(help="The column that says whose row it is.")] = "learner",
    label: Annotated[str, typer.Option(help="The column with the truth, 0 or 1.")] = "passed",
) -> None:
    """Write a new pipeline with its folder, its test and its DAG file."""
    from learnloop.scaffold import SAMPLE, read_columns, scaffold_pipeline
    from learnloop.settings import project_root

    columns = read_columns(source, learner, label) if source else SAMPLE
    root = project_root()
    for path in scaffold_pipeline(name, root, source, columns):
        print(f"wrote {path.relative_to(root)}")
    print(f"next: learnloop run {name}")
