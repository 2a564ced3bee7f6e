"""Both pipelines on a term, then on one whose learners are weaker: the second report says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from learnloop.pipeline import Pipeline
from learnloop.runner import Run, RunOptions, run_pipeline
from learnloop.settings import Settings
from pipelines.knowledge_tracing.pipeline import knowledge_tracing
from pipelines.learner_outcome.pipeline import learner_outcome
from simulator import SimulationSettings, simulate

ATTEMPTS = 60_000
COLUMNS = {
    "learner_outcome": {"mean_score", "last_score", "submitted_share"},
    "knowledge_tracing": {"responses", "correct"},
}


@pytest.fixture
def home(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of this project, with nothing in its ledger, registry and store yet."""
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(Path(__file__).parents[2]))
    return Settings(home=tmp_path / "home", serving=str(tmp_path / "models"))


def drifted_columns(run: Run) -> dict[str, dict[str, Any]]:
    """The figures of every column that lies too far from the reference."""
    checks = run.artifacts["validate.report"].load()["checks"]
    found = [c for c in checks if c["source"] == "drift" and not c["passed"]]
    assert {check["severity"] for check in found} <= {"warning"}
    return {check["column"]: check["figures"] for check in found}


@pytest.mark.parametrize(
    ("pipeline", "folder", "parameters"),
    [
        pytest.param(learner_outcome, "oulad", {"epochs": 20}, id="learner_outcome"),
        pytest.param(
            knowledge_tracing,
            "kt",
            {"epochs": 2, "units": 8, "longest": 100, "carried": 50},
            id="knowledge_tracing",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_weaker_learners_are_seen_against_the_data_published_before(
    home: Settings,
    tmp_path: Path,
    pipeline: Pipeline[...],
    folder: str,
    parameters: dict[str, Any],
) -> None:
    sources = {}
    for name, drift in (("before", 0.0), ("weaker", 1.0)):
        asked = SimulationSettings(ATTEMPTS, seed=11, drift=drift, drift_from="2013B")
        simulate(asked, tmp_path / name)
        sources[name] = str(tmp_path / name / folder)

    def run(source: str, only: str = "") -> Run:
        given = {"source": sources[source], "min_auc": 0.5, **parameters}
        ended = run_pipeline(pipeline, given, RunOptions(only=only), settings=home)
        assert ended.status == "done", (ended.error, ended.results)
        return ended

    first = run("before")
    assert "load_reference.reference" not in first.artifacts
    assert drifted_columns(first) == {}
    again = run("before")
    assert {result.status for result in again.results.values()} == {"cached"}

    # The very learners, weaker: only what the model sees of them has moved.
    second = run("weaker", only="validate")
    found = drifted_columns(second)
    assert COLUMNS[pipeline.name] <= found.keys()
    for figures in found.values():
        assert figures["against"] == "the reference"
        assert figures["formula"].startswith(("max |p(v) - q(v)|", "H((p + q) / 2)"))
        assert figures["distance"] > figures["threshold"] > 0
