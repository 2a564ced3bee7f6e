"""``learnloop show``: a run, or a pipeline before it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from learnloop.cli.output import format_seconds, print_json, print_table
from learnloop.component import MISSING, type_name
from learnloop.pipeline import Pipeline
from learnloop.settings import Settings


def show(
    name: Annotated[str, typer.Argument(help="A pipeline, a run's id or its beginning, 'latest'.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a run with its steps and figures, or a pipeline with its parameters."""
    from learnloop.discovery import load_pipeline, pipeline_modules
    from learnloop.settings import load_settings

    settings = load_settings()
    if name in pipeline_modules(settings):
        _show_pipeline(load_pipeline(name, settings), json)
    else:
        _show_run(name, settings, json)


def _show_run(name: str, settings: Settings, as_json: bool) -> None:
    from learnloop.summary import summarise_run

    summary = summarise_run(name, settings)
    document = summary.to_json()
    if as_json:
        print_json(document)
        return
    run = summary.run
    print(f"{run.id}: {run.status} after {format_seconds(run.seconds)} ({run.cause})")
    print_table(
        ("step", "status", "time"),
        [(s.step, s.status, format_seconds(s.seconds)) for s in summary.steps],
    )
    if document["metrics"]:
        figures = ("auc", "log_loss", "brier", "ece")
        print_table(
            ("split", *figures),
            [
                (split, *(f"{values[f]:.4f}" if values.get(f) is not None else "" for f in figures))
                for split, values in document["metrics"].items()
            ],
        )
    for step in summary.steps:
        for reason in step.reasons:
            print(f"{step.step}: {reason}")
    for name, what in summary.erased.items():
        print(f"{name}: {what}")
    model = document["model"]
    if model:
        print(f"model: {model['name']} version {model['version']} {model['published_path'] or ''}")


def _show_pipeline(pipeline: Pipeline[...], as_json: bool) -> None:
    parameters = [
        {
            "name": parameter.name,
            "type": type_name(parameter.annotation),
            "default": None if parameter.default is MISSING else parameter.default,
            "required": parameter.default is MISSING,
        }
        for parameter in pipeline.parameters.values()
    ]
    if as_json:
        print_json(
            {
                "pipeline": pipeline.name,
                "description": pipeline.description,
                "parameters": parameters,
            }
        )
        return
    print(f"{pipeline.name}: {pipeline.description}\n")
    print_table(
        ("parameter", "type", "default"),
        [
            (p["name"], p["type"], "(required)" if p["required"] else p["default"])
            for p in parameters
        ],
    )
