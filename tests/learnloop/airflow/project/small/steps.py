"""Components that a DAG file's tests run."""

from __future__ import annotations

import sys

from learnloop.artifacts import Evaluation, PublishedModel
from learnloop.component import Input, Output, component


@component
def look(seen: Output[Evaluation], *, names: tuple[str, ...], since: str | None) -> None:
    """Tell whether this process had TensorFlow before anything asked for it."""
    seen.write({"tensorflow": "tensorflow" in sys.modules, "names": names, "since": since})


@component
def publish(seen: Input[Evaluation], published: Output[PublishedModel], *, share: float) -> None:
    """Stand for a component that publishes a model.

    It publishes nothing.
    """
    published.write({"name": "small", "version": 1, "share": share})
    published.describe(version=1)
