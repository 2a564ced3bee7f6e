"""The main job: both pipelines end to end, then one question to each published model.

``make run`` calls this. Without data it simulates learners; with ``--data`` it reads the real sets
where they are: OULAD in ``oulad/``, ASSISTments 2015 in ``kt/assist2015_dkvmn/``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from learnloop.cli.output import format_seconds
from learnloop.cli.progress import make_watcher
from learnloop.discovery import load_pipeline
from learnloop.errors import LearnLoopError, UsageError
from learnloop.runner import Run, run_pipeline
from learnloop.settings import Settings, load_settings
from learnloop.summary import summarise_run
from simulator import SimulationSettings, simulate

REAL_SOURCES = {"learner_outcome": "oulad", "knowledge_tracing": "kt/assist2015_dkvmn"}
SIMULATED_SOURCES = {"learner_outcome": "oulad", "knowledge_tracing": "kt"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the main job.

    Args:
        arguments: The command's words; those of this process when None.

    Returns:
        The exit code: 0 done, 1 a gate refused, 2 bad usage or input, 3 a fault.
    """
    parser = argparse.ArgumentParser(prog="make run", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a folder with oulad/ and kt/assist2015_dkvmn/")
    given = parser.parse_args(arguments)
    began = time.perf_counter()
    settings = load_settings()
    try:
        sources = _real_sources(given.data) if given.data else _simulated_sources(settings)
        runs = [_run(name, source, settings) for name, source in sources.items()]
        code = max(run.exit_code for run in runs)
        for run in runs:
            _tell(run, settings)
    except LearnLoopError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    print(f"\nMLflow      {settings.mlflow_uri}")
    print(f"look at it  .venv/bin/mlflow ui --backend-store-uri {settings.mlflow_uri}")
    print(f"models      {settings.serving_folder}")
    print(f"took        {format_seconds(time.perf_counter() - began)}")
    return code


def _real_sources(data: Path) -> dict[str, Path]:
    sources = {name: (data / folder).resolve() for name, folder in REAL_SOURCES.items()}
    for name, source in sources.items():
        if not source.is_dir():
            raise UsageError(
                f"There is no data for {name}.",
                where=data,
                expected=source,
                next="make run, to use simulated learners",
            )
    return sources


def _simulated_sources(settings: Settings) -> dict[str, Path]:
    folder = settings.home_folder / "simulated"
    if not folder.exists():
        print("Simulating learners …", file=sys.stderr)
        simulate(SimulationSettings(), folder)
    return {name: folder / part for name, part in SIMULATED_SOURCES.items()}


def _run(name: str, source: Path, settings: Settings) -> Run:
    pipeline = load_pipeline(name, settings)
    return run_pipeline(
        pipeline, {"source": str(source)}, settings=settings, watcher=make_watcher()
    )


def _tell(run: Run, settings: Settings) -> None:
    summary = summarise_run(run.id, settings).to_json()
    print(f"\n{run.graph.pipeline}: {run.status}")
    if run.error is not None:
        print(run.error)
    for result in run.results.values():
        for reason in result.reasons:
            print(f"  {result.step}: {reason}")
    print(f"  report      {run.report}")
    test = summary["metrics"].get("test")
    if test:
        print(f"  test AUC    {test['auc']:.4f} on {summary['counts']['test']:,} rows")
    if summary["model"] and summary["model"]["published_path"]:
        print(f"  published   {summary['model']['published_path']}")
        row, probability = _ask(run, Path(summary["model"]["published_path"]))
        print(f"  asked       {json.dumps(row)}")
        print(f"  answered    {probability:.4f}")


def _ask(run: Run, published: Path) -> tuple[dict[str, Any], float]:
    """Ask a published SavedModel one raw row, with plain TensorFlow."""
    import tensorflow as tf

    from components.served_rows import served_rows

    artifacts = run.artifacts
    rows = served_rows(artifacts["train.model"], _examples(artifacts), 1)  # type: ignore[arg-type]
    model = tf.saved_model.load(str(published))
    answer = model.signatures["serving_default"](**{n: tf.constant(v) for n, v in rows.items()})
    shown = {n: (v.astype(str) if v.dtype == object else v)[0].tolist() for n, v in rows.items()}
    return shown, float(answer["probability"][0])


def _examples(artifacts: dict[str, Any]) -> Any:
    """The raw examples: those that were not transformed."""
    return next(a for name, a in artifacts.items() if name.endswith(".examples"))


if __name__ == "__main__":
    sys.exit(main())
