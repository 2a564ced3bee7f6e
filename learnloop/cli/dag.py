"""``learnloop dag``: the DAG files, as Airflow will read them."""

from __future__ import annotations

import os
import runpy
from typing import Annotated, Any

import typer

from learnloop.cli.output import print_json, print_table

dag = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What Airflow will run.")


@dag.callback()
def _group() -> None:
    """Keep ``list`` a subcommand."""


@dag.command("list")
def list_dags(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the DAGs of this project's DAG files."""
    from learnloop.airflow.environment import private_environment
    from learnloop.discovery import explain_import_faults, make_importable
    from learnloop.settings import load_settings, project_root

    settings = load_settings()
    os.environ.update(private_environment(settings.home_folder / "airflow", settings))
    make_importable()
    from airflow.sdk import DAG

    found: list[dict[str, Any]] = []
    for path in sorted((project_root() / settings.dags).glob("*.py")):
        with explain_import_faults(path.stem):
            values = runpy.run_path(str(path)).values()
        for value in values:
            if isinstance(value, DAG):
                found.append(
                    {
                        "dag": value.dag_id,
                        "schedule": str(value.schedule or "on demand"),
                        "steps": len(value.tasks),
                        "file": str(path.relative_to(project_root())),
                        "description": value.description or "",
                    }
                )
    if json:
        print_json(found)
        return
    columns = ("dag", "schedule", "steps", "file", "description")
    print_table(columns, [[one[column] for column in columns] for one in found])
