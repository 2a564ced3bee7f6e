"""Our own pipelines, whole, on both runners: equal content digests from empty stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from learnloop.airflow.runner import run_with_airflow
from learnloop.pipeline import Pipeline
from learnloop.runner import Run, run_pipeline
from learnloop.settings import Settings
from pipelines.knowledge_tracing.pipeline import knowledge_tracing
from pipelines.learner_outcome.pipeline import learner_outcome
from simulator import SimulationSettings, simulate
from tests.learnloop.airflow.conftest import ROOT

pytestmark = [pytest.mark.xdist_group("airflow"), pytest.mark.slow]

CASES = {
    "learner_outcome": (learner_outcome, "oulad", {"epochs": 20}),
    "knowledge_tracing": (
        knowledge_tracing,
        "kt",
        {"epochs": 2, "units": 8, "longest": 100, "carried": 50},
    ),
}


def digests_of(run: Run) -> dict[str, str]:
    """The content digest of every artifact of a run, by step and output."""
    assert run.status == "done", (run.error, run.results)
    return {
        f"{step}.{output}": record.content_digest
        for step, result in run.results.items()
        for output, record in result.outputs.items()
        if record is not None
    }


@pytest.mark.parametrize("name", CASES)
def test_both_runners_make_the_same(
    name: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(ROOT))
    simulate(SimulationSettings(60_000, seed=11), tmp_path / "simulated")
    pipeline: Pipeline[...]
    parameters: dict[str, Any]
    pipeline, folder, parameters = CASES[name]
    given = {"source": str(tmp_path / "simulated" / folder), "min_auc": 0.5, **parameters}

    def home(runner: str) -> Settings:
        place = tmp_path / runner
        return Settings(home=place / "home", serving=str(place / "models"))

    local = digests_of(run_pipeline(pipeline, given, settings=home("local")))
    airflow = digests_of(run_with_airflow(pipeline, given, settings=home("airflow")))
    assert {
        "ingest.records", "statistics.statistics", "validate.report", "transform.transformed",
        "train.model", "evaluate.evaluation", "register.registered", "push.published",
    } <= local.keys()  # fmt: skip
    assert airflow == local
