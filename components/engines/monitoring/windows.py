"""The spans of time that are compared: the one judged, and the earlier ones that it is judged by.

With the starts of terms, the earlier windows are the same days of earlier terms, so that a course's
third week is held against third weeks. Without them they are the spans just before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from learnloop.errors import UsageError


@dataclass(frozen=True, order=True)
class Window:
    """A span of time; its end no longer belongs to it.

    Args:
        since: The first moment.
        until: The end.
    """

    since: datetime
    until: datetime


def plan_windows(
    until: datetime, days: int, earlier: int, terms: Sequence[datetime] = ()
) -> tuple[Window, list[Window]]:
    """Lay the windows out.

    Args:
        until: The end of the window that is judged.
        days: The length of each.
        earlier: The most earlier windows.
        terms: The starts of terms, this one's and earlier ones', in any order.

    Returns:
        The window that is judged, and the earlier ones, the oldest first.

    Raises:
        UsageError: Terms are given, but the window lies before all of them.
    """
    length = timedelta(days=days)
    judged = Window(until - length, until)
    if not terms:
        ends = [until - place * length for place in range(earlier, 0, -1)]
        return judged, [Window(end - length, end) for end in ends]
    started = sorted(term for term in terms if term < until)
    if not started:
        raise UsageError(
            "The window lies before every term.",
            expected=f"a window after {min(terms):%Y-%m-%d}, the start of the first term",
            received=f"{judged.since:%Y-%m-%d} to {until:%Y-%m-%d}",
        )
    into = judged.since - started[-1]
    begins = [term + into for term in started[:-1]]
    return judged, [Window(begin, begin + length) for begin in begins[-earlier:]]


def parse_moment(text: str, parameter: str) -> datetime:
    """Read a moment.

    Args:
        text: ISO 8601; UTC where it names no zone.
        parameter: The parameter's name, for the error.

    Raises:
        UsageError: It is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            "A parameter is not a moment.",
            where=f"parameter '{parameter}'",
            expected="a date or time by ISO 8601, for example 2026-03-02",
            received=repr(text),
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
