"""Which versions may go: not the last ones, none that servers are told of, none that just was.

A server may still be loading, or draining, a version that ``models.config`` named a moment ago, so
a version stays for a grace period after it was published or last named. It leaves by a rename (a
deletion of its manifest on S3), so that nobody takes what is left of it for a version.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from serving.state import ModelRollout

GRACE = timedelta(minutes=10)


def removable(model: ModelRollout, keep: int, now: datetime | None = None) -> list[int]:
    """List the versions of a model that may go.

    Args:
        model: The model's state.
        keep: So many of the highest versions stay whatever they are.
        now: The moment to judge at; this one when None.
    """
    before = (now or datetime.now(UTC)) - GRACE
    needed = {*model.told.versions, *model.wanted.versions, *sorted(model.published)[-keep:]}
    return [
        version
        for version, idle_since in sorted(model.published.items())
        if version not in needed and datetime.fromisoformat(idle_since) < before
    ]
