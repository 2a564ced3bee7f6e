"""The pipeline ``learner_outcome`` itself, on a simulated school: erased, and as if never there."""

from __future__ import annotations

from pathlib import Path

import pytest

from learnloop.artifacts import Examples
from learnloop.discovery import load_pipeline
from learnloop.runner import Run, RunOptions, run_pipeline
from learnloop.settings import Settings
from privacy.erasing import erase_learner
from simulator import SimulationSettings, simulate
from tests.privacy.scanning import places_naming
from tests.privacy.school import remove_by_hand

ROOT = Path(__file__).parents[2]


def project(folder: Path, patch: pytest.MonkeyPatch) -> Settings:
    """An empty project with the repository's pipelines."""
    folder.mkdir()
    (folder / "learnloop.toml").touch()
    (folder / "pipelines").symlink_to(ROOT / "pipelines")
    patch.setenv("LEARNLOOP_PROJECT", str(folder))
    return Settings()


def learn(settings: Settings, source: Path) -> Run:
    found = load_pipeline("learner_outcome", settings)
    parameters = {"source": str(source), "epochs": 3, "min_auc": 0.5}
    ended = run_pipeline(found, parameters, RunOptions(), settings=settings)
    assert ended.status == "done", ended.error
    return ended


def digests(run: Run) -> dict[str, str]:
    outputs = [record for result in run.results.values() for record in result.outputs.values()]
    # The report compares with the statistics of earlier data, which only one project has.
    return {one.output: one.content_digest for one in outputs if one and one.output != "report"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_everything_that_follows_is_as_if_they_had_never_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(SimulationSettings(attempts=100_000, seed=7), tmp_path / "platform")
    source = tmp_path / "platform" / "oulad"
    monkeypatch.setenv("LEARNLOOP_PSEUDONYM_KEYS", "2026:" + "k" * 32)
    erased = project(tmp_path / "erased", monkeypatch)
    examples = learn(erased, source).artifacts["examples"]
    assert isinstance(examples, Examples)
    learner = str(examples.table("train", ["learner"])["learner"][5].as_py())
    assert places_naming(tmp_path / "erased", learner) != []
    receipt = erase_learner(erased, learner, "request 9")
    assert receipt.models == ("learner_outcome 1",)
    assert places_naming(tmp_path / "erased", learner) == []
    again = learn(erased, source)
    assert places_naming(tmp_path / "erased", learner) == []
    by_hand = remove_by_hand(source, tmp_path / "by-hand", learner)
    never = learn(project(tmp_path / "never", monkeypatch), by_hand)
    expected, received = digests(never), digests(again)
    assert {name: received[name] for name in expected} == expected
