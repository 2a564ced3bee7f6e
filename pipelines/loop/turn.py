"""One turn of the loop: drift seen, request, policy, run, new version served.

Everything is real but Kafka, which is librdkafka's mock cluster, and TensorFlow Serving, for which
the embedded server stands in. Time is shortened: a window of the monitor is seconds long, and the
policy's cool-down is none.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from learnloop.airflow.run_id import ledger_run_id
from learnloop.artifacts import Blessing, Evaluation, MonitoringReport
from learnloop.errors import LearnLoopError
from learnloop.ledger import Ledger, open_ledger
from learnloop.runner import Run, RunOptions, run_pipeline
from learnloop.settings import Settings
from messaging.decisions import Decisions
from messaging.policy.settings import Policies
from messaging.records import Message, Outcome
from pipelines.knowledge_tracing.pipeline import NAME, knowledge_tracing
from pipelines.loop.collected import read_attempts, write_outcomes, write_sequences
from pipelines.loop.live_platform import Platform, read_learners
from pipelines.monitoring.pipeline import monitoring
from pipelines.promotion.pipeline import promotion
from serving.registry import CHAMPION, Aliases
from simulator import SimulationSettings, simulate

WINDOW = timedelta(seconds=15)
ORDINARY_WINDOWS = 4
"""The last of them is looked at; a monitor needs three earlier ones."""

EARLIER = 8
TERMS = {
    "ordinary": SimulationSettings(attempts=12_000, seed=11),
    "drifted": SimulationSettings(attempts=12_000, seed=12, drift=1.0, drift_from="2013B"),
}
TRAINING: dict[str, str | int | float] = {"epochs": 6, "units": 32, "min_auc": 0.6}
POLICIES = """\
[default]
minimum_new_rows = 200
enough_new_rows = 200
cool_down_hours = 0
"""
PATIENCE_SECONDS = 120.0
RUN_SECONDS = 240.0
WATCH_SECONDS = 0.2

Tell = Callable[[str, str], None]
"""Told what is spoken of, and a sentence."""


@dataclass(frozen=True)
class Stage:
    """Where the turn takes place.

    Args:
        folder: Takes everything.
        settings: All of whose places lie in it.
        platform: The learners.
        tell: Is told what happens.
        has_airflow: Whether Airflow makes the runs, or this machine.
    """

    folder: Path
    settings: Settings
    platform: Platform
    tell: Tell
    has_airflow: bool

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return open_ledger(self.settings.ledger_url)


def train_first(folder: Path, settings: Settings, tell: Tell) -> None:
    """Train and publish the version that the loop begins with, on an ordinary term.

    Args:
        folder: Takes the simulated terms.
        settings: Where things are.
        tell: Is told what happens.
    """
    for term, asked in TERMS.items():
        simulate(asked, folder / term)
    source = str(folder / "ordinary" / "kt")
    run = _done(run_pipeline(knowledge_tracing, {"source": source, **TRAINING}, settings=settings))
    figures = _read(run, Evaluation, "evaluation")["metrics"]["test"]
    tell("trained", f"version 1 on an ordinary term: AUC {figures['auc']:.3f}")
    judge_promotion(settings, tell)


def judge_promotion(settings: Settings, tell: Tell) -> None:
    """Look whether the newest version becomes the champion."""
    run = _done(run_pipeline(promotion, {"model": NAME}, settings=settings))
    (reason,) = _read(run, Blessing, "verdict")["reasons"]
    tell("champion", reason)


def go_round(stage: Stage) -> None:
    """Make one turn.

    Args:
        stage: With version 1 in service and a listener.

    Raises:
        LearnLoopError: It was not completed.
    """
    tell, platform = stage.tell, stage.platform
    ordinary, drifted = (read_learners(stage.folder / term, term) for term in TERMS)
    size = len(ordinary) // ORDINARY_WINDOWS
    began = datetime.now(UTC)
    windows = [began + place * WINDOW for place in range(ORDINARY_WINDOWS + 1)]
    for place, since in enumerate(windows[:-1]):
        _sleep_until(since)
        platform.practise(ordinary[place * size : (place + 1) * size])
        tell("practice", f"{platform.told:,} answers told, {platform.asked:,} questions asked")
    _sleep_until(windows[-1])
    _look(stage, windows[-2], only="monitor")

    drift_began = _sleep_until_window(began)
    tell("drift", "from now on other learners answer, who are weaker, and items are harder")
    platform.practise(drifted)
    _sleep_until(drift_began + WINDOW)
    _wait_for_events(stage)
    attempts = write_sequences(stage.settings.events_folder, stage.folder / "term", drift_began)
    tell("collected", f"{attempts:,} answers of the new term, by way of Kafka")
    report = _look(stage, drift_began)
    if not report["reasons"]:
        raise LearnLoopError("The drift was not seen.", where=stage.folder)

    message = _wait_for("a decision", lambda: _decided(stage), PATIENCE_SECONDS)
    tell("request", f"{message.id}: {message.reason}, asked by {message.requested_by}")
    tell("policy", message.why)
    if message.outcome is not Outcome.caused or message.decision is None:
        raise LearnLoopError("The request caused no run.", received=message.why)
    run_id = str(message.decision.run_id)
    run_id = ledger_run_id(NAME, run_id) if stage.has_airflow else run_id
    tell("run", f"{run_id}, {'in Airflow' if stage.has_airflow else 'on this machine'}")
    status = _wait_for("the run's end", lambda: _ended(stage.ledger, run_id), RUN_SECONDS)
    tell("run", f"{run_id} is {status}")
    if status != "done":
        reasons = [r for one in stage.ledger.executions(run_id) for r in one.reasons]
        raise LearnLoopError("The run made no version.", where=run_id, received=" ".join(reasons))
    if stage.has_airflow:
        aliases = Aliases(stage.settings.mlflow_uri)
        _wait_for("the promotion", lambda: aliases.alias_version(NAME, CHAMPION) == "2")
        tell("champion", "version 2, by the DAG that waits for published versions")
    else:
        judge_promotion(stage.settings, tell)
    history, attempt = drifted[0][:-1], drifted[0][-1]
    _wait_for("version 2", lambda: platform.ask(history, attempt) == 2, PATIENCE_SECONDS)
    tell("served", "version 2 answers")


def _look(stage: Stage, since: datetime, only: str = "") -> Mapping[str, Any]:
    """Look at a window through the monitor; wholly, and it asks for retraining where it is due."""
    _wait_for_events(stage)
    _wait_for("the prediction log", lambda: _logged(stage) >= stage.platform.asked)
    outcomes = stage.folder / "outcomes"
    write_outcomes(stage.settings.events_folder, outcomes)
    parameters = {
        "model": NAME,
        "since": since.isoformat(),
        "until": (since + WINDOW).isoformat(),
        "earlier": EARLIER,
        "outcomes": str(outcomes),
        "retrain_with": {"source": str(stage.folder / "term"), **TRAINING},
    }
    options = RunOptions(only=only, cause="a window is over")
    run = _done(run_pipeline(monitoring, parameters, options, settings=stage.settings))
    document = _read(run, MonitoringReport, "report")
    quality = document["quality"]
    said = " ".join(document["reasons"]) or "All is as usual."
    auc = "" if quality["auc"] is None else f" Live AUC {quality['auc']:.3f}."
    stage.tell("monitor", f"{document['volume']['predictions']:,} predictions.{auc} {said}")
    return document


def _done(run: Run) -> Run:
    if run.status == "done":
        return run
    if run.status == "cancelled":
        raise KeyboardInterrupt
    reasons = [reason for result in run.results.values() for reason in result.reasons]
    raise run.error or LearnLoopError(f"Run {run.id} is {run.status}.", received=" ".join(reasons))


def _read(
    run: Run, kind: type[Evaluation | Blessing | MonitoringReport], name: str
) -> Mapping[str, Any]:
    found = run.artifacts[name]
    assert isinstance(found, kind)
    return found.load()


def _logged(stage: Stage) -> int:
    from serving.prediction_log import read_predictions

    if not stage.settings.predictions_folder.is_dir():
        return 0
    folder = stage.settings.predictions_folder
    return int(read_predictions(folder, NAME, columns=("time",)).num_rows)


def _wait_for_events(stage: Stage) -> None:
    def are_there() -> bool:
        rows = read_attempts(stage.settings.events_folder, ["sequence"])
        return len(rows) >= stage.platform.told

    _wait_for("the collected events", are_there)


def _decided(stage: Stage) -> Message | None:
    messages = Decisions(stage.ledger, Policies()).every_message()
    return next((one for one in messages if one.outcome is not Outcome.open), None)


def _ended(ledger: Ledger, run_id: str) -> str:
    with contextlib.suppress(LearnLoopError):
        status = ledger.run(run_id).status
        return "" if status == "running" else status
    return ""


def _wait_for(what: str, ask: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    until = time.monotonic() + seconds
    while not (found := ask()):
        if time.monotonic() > until:
            raise LearnLoopError(f"Waited for {what} in vain.", received=f"{seconds:.0f} s")
        time.sleep(WATCH_SECONDS)
    return found


def _sleep_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def _sleep_until_window(began: datetime) -> datetime:
    """Sleep until the next window begins, and tell when that is."""
    passed = (datetime.now(UTC) - began) // WINDOW
    begins = began + (passed + 1) * WINDOW
    _sleep_until(begins)
    return begins
