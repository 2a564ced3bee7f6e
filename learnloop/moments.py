"""Moments as people write them, in parameters and on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from learnloop.errors import UsageError


def parse_moment(text: str, where: str) -> datetime:
    """Read a moment.

    Args:
        text: ISO 8601; UTC where it names no zone.
        where: What was written so, for the error: ``parameter 'since'``.

    Raises:
        UsageError: It is none.

    Example:
        >>> parse_moment("2014-10-01", "parameter 'since'").isoformat()
        '2014-10-01T00:00:00+00:00'
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            "A date is not written as ISO 8601 writes it.",
            where=where,
            expected="2014-10-01, or 2014-10-01T04:00:00+00:00",
            received=repr(text),
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
