"""The pipeline: how a model's versions stand in, a verdict and perhaps a new champion out."""

from __future__ import annotations

from components.promote import promote
from learnloop.pipeline import pipeline


@pipeline
def promotion(model: str) -> None:
    """Look whether the newest version of a model deserves to be the champion, and say why.

    Args:
        model: The pipeline whose model is looked at; the model has its name.
    """
    promote(name=model)
