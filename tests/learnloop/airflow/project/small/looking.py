"""A pipeline with a parameter of every kind that a form shows."""

from __future__ import annotations

from typing import Literal

from learnloop.pipeline import pipeline
from small.steps import look, publish


@pipeline
def looking(
    names: tuple[str, ...] = ("one", "two"),
    mode: Literal["fast", "slow"] = "fast",
    since: str | None = None,
    until: str | None = None,
    share: float = 0.5,
) -> None:
    """Look at the process and publish what was seen.

    It is quick.

    Args:
        names: Whom to greet, each
            by the first name, as in ``Ada``.
        mode: How to look.
        since: The first day.
        until: The day after the last.
        share: A part of the whole.
    """
    if mode == "slow":
        look.named("look_around")(names=names, since=since)
    publish.needing(retries=2, timeout_seconds=30.0, pool="models")(
        look(names=names, since=since).seen, share=share
    )
