"""The main job: both pipelines end to end, then questions to each published model.

``make run`` calls this. Without data it simulates learners; with ``--data`` it reads the real sets
where they are: OULAD in ``oulad/``, ASSISTments 2015 in ``kt/assist2015_dkvmn/``. Each model is
asked by its files, then as consumers do: over HTTP and gRPC, from a server that ends with the job,
learner_outcome with what the feature store knows of the same enrolment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from learnloop.artifacts import Examples
from learnloop.cli.output import format_seconds
from learnloop.cli.progress import make_watcher
from learnloop.discovery import load_pipeline
from learnloop.errors import LearnLoopError, UsageError
from learnloop.runner import Run, run_pipeline
from learnloop.settings import Settings, load_settings
from learnloop.summary import summarise_run
from serving.embedded import embedded_server
from serving.server.running import served_source
from serving.state import STABLE
from simulator import SimulationSettings, simulate

if TYPE_CHECKING:
    import numpy.typing as npt

    Row = Mapping[str, npt.NDArray[Any]]

REAL_SOURCES = {"learner_outcome": "oulad", "knowledge_tracing": "kt/assist2015_dkvmn"}
SIMULATED_SOURCES = {"learner_outcome": "oulad", "knowledge_tracing": "kt"}
LOOKED_UP = "learner_outcome"
"""The model that is asked with features from the feature store."""
OUTPUT = "probability"
PATIENCE_SECONDS = 60.0
"""How long a question may take; here it need not be quick."""


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
        rows = {run.graph.pipeline: row for run in runs if (row := _tell(run, settings))}
        if LOOKED_UP in rows:
            run = next(run for run in runs if run.graph.pipeline == LOOKED_UP)
            rows[LOOKED_UP] = _row_from_feature_store(run, sources[LOOKED_UP])
        if rows:
            _tell_served(served_source(None), settings.home_folder / "logs" / "server.log", rows)
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


def _tell(run: Run, settings: Settings) -> Row | None:
    """Tell what became of a run; give the row that its published model was asked."""
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
    if not (summary["model"] and summary["model"]["published_path"]):
        return None
    print(f"  published   {summary['model']['published_path']}")
    row = _row(run)
    shown = {n: (v.astype(str) if v.dtype == object else v)[0].tolist() for n, v in row.items()}
    print(f"  asked       {json.dumps(shown)}")
    print(f"  answered    {_ask_files(Path(summary['model']['published_path']), row):.4f}")
    return row


def _row(run: Run) -> Row:
    from components.served_rows import served_rows

    artifacts = run.artifacts
    return served_rows(artifacts["train.model"], _examples(artifacts), 1)  # type: ignore[arg-type]


def _row_from_feature_store(run: Run, source: Path) -> Row:
    """Fill the feature store, and look the same row up by the keys of its enrolment."""
    import numpy as np

    from feature_store.fields import EVENT_TIMESTAMP
    from feature_store.store import FeatureStore
    from pipelines.learner_outcome.features import KEYS, LEARNER
    from serving.client.learner import complete_rows

    store = FeatureStore(run.settings)
    store.apply()
    entities = run.artifacts["enrolments.entities"]
    assert isinstance(entities, Examples)
    first = next(entities.batches(entities.names[-1], 1, [*KEYS, EVENT_TIMESTAMP]))
    (row,) = first.to_pylist()
    moment, learner = row.pop(EVENT_TIMESTAMP), str(row.pop(LEARNER))
    filled = run_pipeline(
        load_pipeline("enrolment_days", run.settings),
        {"source": str(source), "until": moment.isoformat()},
        settings=run.settings,
        watcher=make_watcher(),
    )
    if filled.error is not None:
        raise filled.error
    (found,) = complete_rows(store, LOOKED_UP, learner, [row])
    print(f"\nfeature store: enrolments as of {moment:%Y-%m-%d}; asked next by keys of that row")
    return {name: np.float32([value]) for name, value in found.items()}


def _ask_files(published: Path, row: Row) -> float:
    """Ask a published SavedModel with plain TensorFlow."""
    import tensorflow as tf

    model = tf.saved_model.load(str(published))
    answer = model.signatures["serving_default"](**{n: tf.constant(v) for n, v in row.items()})
    return float(answer[OUTPUT][0])


def _tell_served(source: Path, log: Path, rows: Mapping[str, Row]) -> None:
    print("\nthe embedded server, a stand-in for TensorFlow Serving; again with: learnloop serve")
    for model, answers in ask_server(source, log, rows).items():
        told = "   ".join(f"{protocol} {one.probability:.4f}" for protocol, one in answers.items())
        print(f"  {model:18}{told}   version {answers['gRPC'].version}")


class Answer(NamedTuple):
    """What a served model answered to one row.

    Args:
        url: Where it was asked.
        version: The version that answered; None over HTTP, which does not tell.
        probability: The answer.
    """

    url: str
    version: int | None
    probability: float


def ask_server(source: Path, log: Path, rows: Mapping[str, Row]) -> dict[str, dict[str, Answer]]:
    """Start the embedded server, ask each model over both protocols, end the server.

    Args:
        source: The ``models.config`` that tells which versions are in service.
        log: Where the server's output goes.
        rows: Raw columns of one row, ``[1, …]``, by model.

    Returns:
        The answers by model and protocol.

    Raises:
        ServerNotStarted: The server ended, or was not ready in time.
        PredictionError: A question was not answered.
    """
    from serving.client import PredictionClient

    found: dict[str, dict[str, Answer]] = {model: {} for model in rows}
    with embedded_server(source, log) as server:
        for protocol, url in (("HTTP", server.rest_url), ("gRPC", server.grpc_url)):
            with PredictionClient(url, timeout=PATIENCE_SECONDS) as client:
                for model, row in rows.items():
                    answer = client.predict(model, columns=row, label=STABLE)
                    (probability,) = answer.outputs[OUTPUT]
                    found[model][protocol] = Answer(url, answer.version, float(probability))
    return found


def _examples(artifacts: dict[str, Any]) -> Any:
    """The raw examples: those that were not transformed."""
    return next(a for name, a in artifacts.items() if name.endswith(".examples"))


if __name__ == "__main__":
    sys.exit(main())
