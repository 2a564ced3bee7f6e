"""Registered and published versions whose runs have judged them, in a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.champion import open_registry
from learnloop.artifacts import Blessing, Evaluation
from learnloop.component import Input, Output, component
from learnloop.pipeline import pipeline
from learnloop.settings import Settings
from serving.moves import MLFLOW_VERSION, Mover
from serving.publish import Publication
from serving.registry import CHALLENGER, RUN_TAG

NAME = "exams"
FIGURES = {"judged": "test", "metrics": {"test": {"auc": 0.8126, "rows": 4000}}}


@component
def judge(blessing: Output[Blessing], evaluation: Output[Evaluation], *, is_good: bool) -> None:
    """Stand for training and evaluation."""
    reasons = [] if is_good else ["The AUC is 0.612, at least 0.700 is wanted."]
    blessing.write({"blessed": is_good, "reasons": reasons})
    evaluation.write(FIGURES)


@component
def sign(
    blessing: Input[Blessing], evaluation: Input[Evaluation], signed: Output[Evaluation]
) -> None:
    """Stand for registering."""
    signed.write(evaluation.load())


@pipeline
def exams(is_good: bool) -> None:
    """Make a model."""
    judged = judge(is_good=is_good)
    sign(judged.blessing, judged.evaluation)


def publish_judged(
    settings: Settings,
    saved_model: Callable[[int], Path],
    *,
    name: str = NAME,
    is_good: bool = True,
    run_id: str = "",
    weight: float = 0.0,
) -> str:
    """Make a version, register it as the challenger and publish it; give its number.

    Args:
        settings: Of the project.
        saved_model: Writes the SavedModel of a version.
        name: The model's name.
        is_good: Whether its run blesses it.
        run_id: The run that is on record as its maker, in place of the one that is.
        weight: The share of callers that it is tried on.
    """
    run = run_id or exams.run_in(settings, is_good=is_good).id
    registry = open_registry(settings)
    client = registry.client()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    folder = settings.home_folder.as_uri()
    version = str(client.create_model_version(name, folder, tags={RUN_TAG: run}).version)
    registry.set_alias(name, CHALLENGER, version)
    number = int(version)
    made = Publication(
        saved_model(number), number, f"{name} {version}", {MLFLOW_VERSION: version, "run_id": run}
    )
    Mover(settings, "ada").push(name, made, weight=weight, why="a test")
    return version
