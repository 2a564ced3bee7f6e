"""``learnloop run``: a pipeline, here or as its Airflow DAG."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from learnloop.cli.output import print_json
from learnloop.cli.pairs import read_pairs


class RunnerName(StrEnum):
    """Who executes the steps."""

    local = "local"
    airflow = "airflow"


def run(
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter; may be repeated."),
    ] = None,
    runner: Annotated[RunnerName, typer.Option(help="Who executes the steps.")] = RunnerName.local,
    force: Annotated[
        list[str] | None, typer.Option(metavar="STEP", help="Execute this step, cached or not.")
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="STEP", help="Run this step and what it needs, no further.")
    ] = "",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Execute every step.")] = False,
    override: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP=REASON", help="Let this gate pass though it refuses; it is recorded."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a pipeline. What was done before is reused; running again resumes.

    Exit codes: 0 done, 1 a gate refused, 2 bad usage or input, 3 a fault.
    """
    from learnloop.cli.progress import make_watcher
    from learnloop.discovery import load_pipeline
    from learnloop.runner import RunOptions, run_pipeline
    from learnloop.settings import load_settings
    from learnloop.summary import summarise_run

    settings = load_settings()
    found = load_pipeline(pipeline, settings)
    options = RunOptions(
        force=tuple(force or ()),
        only=only,
        use_cache=not no_cache,
        overrides=read_pairs(override, "--override", "validate='marks were late this term'"),
    )
    parameters = read_pairs(set_, "--set", "epochs=10")
    if runner is RunnerName.airflow:
        from learnloop.airflow.runner import run_with_airflow

        ended = run_with_airflow(found, parameters, options, settings, make_watcher())
    else:
        ended = run_pipeline(found, parameters, options, settings=settings, watcher=make_watcher())
    if json:
        print_json(summarise_run(ended.id, settings).to_json())
    else:
        print(f"{ended.id} {ended.status}")
        print(f"report: {ended.report}")
    for result in ended.results.values():
        for reason in result.reasons:
            verb = "let pass" if result.is_overridden else "refused"
            print(f"{result.step} {verb}: {reason}", file=sys.stderr)
    if ended.error is not None:
        print(ended.error, file=sys.stderr)
    raise typer.Exit(ended.exit_code)
