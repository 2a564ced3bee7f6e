"""Look at a model in service: what it is asked, what it answers, and how that came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from components.engines.monitoring.outcomes import join_outcomes, read_outcomes, watched_columns
from components.engines.monitoring.page import render
from components.engines.monitoring.windows import Window, plan_windows
from learnloop.artifacts import Evaluation, Examples, Model, MonitoringReport, digest_file
from learnloop.component import Context, Input, Output, component
from learnloop.moments import parse_moment
from learnloop.settings import Settings, project_root

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

PAGE = "report.html"
METRICS = "metrics.prom"
BATCH = 8_192


def resolve_service(arguments: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Tell what the log and the outcomes hold now, which enters the cache key.

    Args:
        arguments: The step's parameters.
        settings: Names the folders.
    """
    from serving.prediction_log import find_parts

    windows = _plan(*(arguments[name] for name in ("since", "until", "earlier", "terms")))
    log = settings.predictions_folder
    files = {"log": find_parts(log, arguments["model"], windows[0].since, windows[-1].until)}
    if arguments["outcomes"]:
        files["outcomes"] = sorted((project_root() / arguments["outcomes"]).rglob("*.parquet"))
    return {name: [digest_file(path) for path in paths] for name, paths in files.items()}


@component(resolve=resolve_service)
def monitor(
    reference: Input[Examples],
    evaluation: Input[Evaluation] | None,
    challenger: Input[Model] | None,
    report: Output[MonitoringReport],
    *,
    model: str,
    since: str,
    until: str,
    earlier: int = 8,
    terms: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    outcomes: str = "",
    split: str = "train",
    probability: float = 0.02,
    least: float = 0.075,
    false_alarms: float = 0.01,
    auc_loss: float = 0.02,
    context: Context,
) -> None:
    """Judge a window of a model's service by its training data and by earlier windows.

    Features are held against the training data (training-serving skew and drift at once), scores
    against the earlier windows; each distance is judged by the distances of the earlier windows, so
    that what every week or term brings is not called drift.

    Args:
        reference: Raw rows that the served model was trained on.
        evaluation: Its evaluation, which the live quality is held against.
        challenger: A model that is asked the same, for comparison.
        report: Everything as JSON, ``report.html`` and Prometheus's ``metrics.prom`` beside it.
        model: The served model's name.
        since: The window's first moment. ISO 8601.
        until: The window's end, which no longer belongs to it.
        earlier: The most earlier windows to judge by.
        terms: The starts of terms; then the earlier windows are the same days of earlier terms.
        columns: The features to watch; all when empty.
        outcomes: A folder of what came to pass (:mod:`components.engines.monitoring.outcomes`).
        split: The split of the reference that was trained on.
        probability: What is rarer than this among earlier windows is told.
        least: The smallest distance that matters, in bits beyond what chance may bring.
        false_alarms: False alarms a window that are put up with, on average over time.
        auc_loss: How much lower than its evaluation the live AUC may surely be.
        context: Names the folders.

    Raises:
        UsageError: There is no log, or a parameter does not fit.
    """
    from components.engines.monitoring.watching import (
        Limits,
        look_at_challenger,
        look_at_columns,
        look_at_quality,
        look_at_volume,
        others,
    )
    from serving.prediction_log import read_predictions

    limits = Limits(probability, least, false_alarms, auc_loss=auc_loss)
    windows = _plan(since, until, earlier, terms)
    now = windows[-1]

    def read(window: Window, columns: tuple[str, ...] = ()) -> pa.Table:
        folder = context.settings.predictions_folder
        return read_predictions(folder, model, window.since, window.until, columns)

    rows = [read(window) for window in windows]
    asked = [_features_of(window) for window in rows]
    trained = reference.table(split)
    watched = watched_columns(trained.schema.names, asked[-1].schema.names, columns)
    features, evidence = look_at_columns([trained] * len(asked), asked, watched, limits)
    scored = [window.select(["score"]) for window in rows]
    answers, answer_evidence = look_at_columns(others(scored), scored, ("score",), limits)
    document: dict[str, Any] = {
        "model": model,
        "versions": sorted(set(rows[-1]["version"].to_pylist())),
        "window": now.to_json(),
        "earlier": [window.to_json() for window in windows[:-1]],
        "volume": look_at_volume(rows, limits),
        "features": [one.to_json() | {"sentence": one.sentence()} for one in features],
        "scores": [one.to_json() | {"sentence": one.sentence()} for one in answers],
        "evidence": {
            "features": evidence.value,
            "scores": answer_evidence.value,
            "alarm_at": 1 / limits.false_alarms,
        },
        "quality": None,
        "challenger": None,
    }
    joined = None
    if outcomes:
        needed = () if challenger else ("time", "subject", "score")
        everything = read(Window(windows[0].since, now.until), needed)
        joined = join_outcomes(everything, read_outcomes(project_root() / outcomes), now)
        document["quality"] = look_at_quality(joined, _evaluated(evaluation), limits)
    if challenger is not None and rows[-1].num_rows:
        document["challenger"] = look_at_challenger(joined, rows[-1], _asked(challenger))
    document["reasons"] = _reasons(document)
    report.write(document)
    report.describe(needs_retraining=bool(document["reasons"]), reasons=document["reasons"])
    (report.path / PAGE).write_text(render(document), encoding="utf-8")
    (report.path / METRICS).write_text(_metrics(document), encoding="utf-8")


def _features_of(rows: pa.Table) -> pa.Table:
    """Take the raw features out of the log's columns, under the names that the model knows."""
    from serving.prediction_log.columns import FEATURE

    names = [name for name in rows.schema.names if name.startswith(FEATURE)]
    return rows.select(names).rename_columns([name.removeprefix(FEATURE) for name in names])


def _plan(since: str, until: str, earlier: int, terms: Sequence[str]) -> list[Window]:
    starts = [parse_moment(term, "parameter 'terms'") for term in terms]
    return plan_windows(Window.parse(since, until), earlier, starts)


def _asked(model: Model) -> Callable[[pa.Table], NDArray[np.float64]]:
    """Make a model answer logged rows as a server would; NaN where it has nothing to say."""
    import numpy as np

    from components.engines.bulk import BulkModel

    asked = BulkModel(model.path)

    def scores(rows: pa.Table) -> NDArray[np.float64]:
        batches = _features_of(rows).to_batches(max_chunksize=BATCH)
        found = [asked.scores(batch).to_numpy(zero_copy_only=False) for batch in batches]
        return np.concatenate([np.empty(0), *found])

    return scores


def _evaluated(evaluation: Evaluation | None) -> Mapping[str, Any] | None:
    if evaluation is None:
        return None
    document = evaluation.load()
    figures: Mapping[str, Any] = document["metrics"][document["judged"]]
    return figures


def _reasons(document: Mapping[str, Any]) -> list[str]:
    """Say in sentences what calls for attention."""
    found = [
        f"{name.capitalize()}: {one['sentence']}"
        for name in ("features", "scores")
        for one in document[name]
        if one["is_drift"]
    ]
    evidence = document["evidence"]
    for name in ("features", "scores"):
        if evidence[name] >= evidence["alarm_at"]:
            found.append(
                f"The evidence that the {name} have changed is {evidence[name]:,.0f}, "
                f"{evidence['alarm_at']:,.0f} or more is an alarm."
            )
    volume = document["volume"]
    if volume["is_silent"]:
        found.append(
            f"{volume['predictions']:,} predictions were asked for, "
            f"{volume['usual']:,.0f} is usual."
        )
    quality = document["quality"]
    if quality and quality["has_fallen"]:
        low, high = quality["auc_interval"]
        found.append(
            f"The live AUC is {quality['auc']:.3f} ({low:.3f} to {high:.3f}), "
            f"{quality['evaluated_auc']:.3f} in the evaluation."
        )
    return found


def _metrics(document: Mapping[str, Any]) -> str:
    """Write the figures as Prometheus's text format, for the node exporter's textfile collector."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    labels = {"model": document["model"]}

    def gauge(name: str, what: str, *more: str) -> Gauge:
        names = [*labels, *more]
        return Gauge(f"learnloop_monitor_{name}", what, names, registry=registry)

    def tell(name: str, what: str, value: float) -> None:
        gauge(name, what).labels(**labels).set(value)

    tell("predictions", "Predictions in the window.", document["volume"]["predictions"])
    if newest := document["volume"]["newest"]:
        tell("newest_seconds", "The newest prediction.", datetime.fromisoformat(newest).timestamp())
    for name in ("features", "scores"):
        distances = gauge(f"{name}_distance_bits", "Jensen-Shannon divergence.", "column")
        for one in document[name]:
            distances.labels(**labels, column=one["column"]).set(one["value"])
        tell(f"{name}_evidence", "Evidence of a change.", document["evidence"][name])
    quality = document["quality"]
    if quality and quality["auc"] is not None:
        tell("auc", "Live AUC of what has come to pass.", quality["auc"])
        tell("calibration_error", "Live expected calibration error.", quality["ece"])
    tell("needs_retraining", "Whether anything calls for it.", bool(document["reasons"]))
    text: str = generate_latest(registry).decode()
    return text
