"""What the champion was made from, found again; and the challenger beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.champion import open_registry
from components.served import load_served
from learnloop.artifacts import Evaluation, Examples
from learnloop.component import Input, Output, component
from learnloop.pipeline import pipeline
from learnloop.runner import Run
from learnloop.settings import Settings
from serving.registry import CHALLENGER, CHAMPION, DIGEST_TAG, RUN_TAG

pytestmark = pytest.mark.xdist_group("publishing")

NAME = "exams"


@component
def gather(rows: Output[Examples], *, count: int) -> None:
    """Make rows."""
    rows.write("train", pa.table({"score": list(range(count))}))


@component
def judge(examples: Input[Examples], report: Output[Evaluation]) -> None:
    """Stand for training and evaluation."""
    report.write({"rows": examples.table("train").num_rows})


@component
def sign(evaluation: Input[Evaluation], signed: Output[Evaluation]) -> None:
    """Stand for registering."""
    signed.write(evaluation.load())


@pipeline
def exams(count: int) -> None:
    """Make a model."""
    sign(judge(gather(count=count).rows).report)


@pipeline
def looking() -> None:
    """Look for what is served."""
    load_served(name=NAME)


def register(settings: Settings, folder: Path, run_id: str, digest: str, *aliases: str) -> None:
    registry = open_registry(settings)
    client = registry.client()
    if not client.search_registered_models(f"name = '{NAME}'"):
        client.create_registered_model(NAME)
    tags = {RUN_TAG: run_id, DIGEST_TAG: digest}
    version = client.create_model_version(NAME, folder.as_uri(), tags=tags).version
    for alias in aliases:
        registry.set_alias(NAME, alias, str(version))


def look(settings: Settings) -> Run:
    return looking.run_in(settings)


def loaded(run: Run) -> dict[str, Any]:
    assert run.status == "done", run.error
    return {
        name.partition(".")[2]: artifact for name, artifact in run.artifacts.items() if "." in name
    }


def test_the_champions_rows_and_figures(settings: Settings, tmp_path: Path) -> None:
    champion, newer = (exams.run_in(settings, count=count) for count in (3, 5))
    register(settings, tmp_path, champion.id, "0", CHAMPION)
    found = loaded(look(settings))
    assert set(found) == {"reference", "evaluation"}
    assert found["reference"].table("train").num_rows == 3
    assert found["evaluation"].load() == {"rows": 3}

    register(settings, tmp_path, newer.id, "1", CHAMPION)
    assert loaded(look(settings))["evaluation"].load() == {"rows": 5}, "the alias is in the key"


def test_a_challenger_that_is_the_champion_is_none(settings: Settings, tmp_path: Path) -> None:
    champion = exams.run_in(settings, count=3)
    register(settings, tmp_path, champion.id, "0", CHAMPION, CHALLENGER)
    assert "challenger" not in loaded(look(settings))


def test_without_a_champion_there_is_nothing_to_watch(settings: Settings) -> None:
    assert str(look(settings).error) == (
        "No version of exams is the champion.\n"
        "  where:    the model registry\n"
        "  expected: a model in service, which can be watched\n"
        "  next:     learnloop run promotion --set model=exams"
    )


def test_a_champion_of_another_place_cannot_be_looked_into(
    settings: Settings, tmp_path: Path
) -> None:
    register(settings, tmp_path, "another-place", "0", CHAMPION)
    assert str(look(settings).error) == (
        "What version 1 of exams was made from is no longer on record.\n"
        "  where:    run another-place\n"
        "  expected: a step that read 'examples'\n"
        "  next:     learnloop run exams, then promote the new version"
    )
