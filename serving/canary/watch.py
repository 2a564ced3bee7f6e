"""Watching a canary until it ends: stopped for harm, promoted as agreed, or ended by a person."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from learnloop.errors import GateRefused, LearnLoopError, UsageError
from serving.canary.comparison import Comparison, Tolerance
from serving.canary.figures import Figures
from serving.moves import Mover

_log = logging.getLogger("learnloop.serving")


@dataclass(frozen=True)
class Policy:
    """How a canary is watched.

    Args:
        every: Seconds between two looks.
        tolerance: What still counts as harmless.
        promote_after: Promote once the canary answered so many requests and did no harm; None
            leaves that to a person.
        at_most: Give up watching after so many seconds; None for never.
    """

    every: float = 5.0
    tolerance: Tolerance = field(default_factory=Tolerance)
    promote_after: int | None = None
    at_most: float | None = None


def watch_canary(
    mover: Mover,
    name: str,
    figures: Callable[[int, int], Figures],
    policy: Policy = Policy(),
    look: Callable[[Comparison], None] = lambda comparison: None,
    only: int | None = None,
) -> Comparison:
    """Compare a model's canary with its stable version until one of them is no more.

    A page that cannot be read is no harm and no proof: the look is left out.

    Args:
        mover: Moves the versions.
        name: The model's name.
        figures: Makes the reader for a stable version and a canary.
        policy: How it is watched.
        look: Told of every look.
        only: The version that may be watched; where another or none is on trial, its trial is over.

    Returns:
        The comparison at the end: the canary was promoted or ended by somebody else, or the time
        was over.

    Raises:
        UsageError: The model has no canary, or a page can never be read as it is asked for.
        GateRefused: The canary did harm, and was stopped.
    """
    began = mover.place.read().model(name)
    version = began.canary
    if only not in (None, version):
        return Comparison(policy.tolerance)
    if version is None:
        raise UsageError(
            f"'{name}' has no canary to watch.",
            expected="a version on trial",
            received=f"version {began.stable} in service, alone",
            next=f"learnloop serving canary {name} VERSION --weight 0.1",
        )
    reader = figures(began.stable, version)
    comparison = Comparison(policy.tolerance)
    deadline = None if policy.at_most is None else time.monotonic() + policy.at_most
    while True:
        now = mover.place.read().model(name)
        if (now.stable, now.canary) != (began.stable, version):
            return comparison
        try:
            stable, canary, reader = reader.read()
        except UsageError:
            raise  # it will be so at every look
        except LearnLoopError as fault:
            _log.warning("A look at the canary of '%s' was left out: %s", name, fault.what)
        else:
            comparison = comparison.add(stable, canary)
            look(comparison)
        if comparison.harm:
            reasons = comparison.harm
            mover.stop(name, version, " ".join(reasons), comparison.figures())
            raise GateRefused(
                reasons,
                where=f"version {version} of '{name}', which is stopped",
                next=f"learnloop serving history {name}",
            )
        answered = comparison.canary.requests
        if policy.promote_after is not None and answered >= policy.promote_after:
            mover.promote(name, f"no harm in {answered} requests")
            return comparison
        if deadline is not None and time.monotonic() >= deadline:
            return comparison
        time.sleep(policy.every)
