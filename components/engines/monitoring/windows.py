"""The spans of time that are compared: the one judged, and the earlier ones that it is judged by.

With the starts of terms, the earlier windows are the same days of earlier terms, so that a course's
third week is held against third weeks. Without them they are the spans just before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from learnloop.errors import UsageError
from learnloop.moments import parse_moment


@dataclass(frozen=True, order=True)
class Window:
    """A span of time; its end no longer belongs to it.

    Args:
        since: The first moment.
        until: The end.
    """

    since: datetime
    until: datetime

    @classmethod
    def parse(cls, since: str, until: str) -> Window:
        """Read a window.

        Args:
            since: Its first moment, by ISO 8601; UTC where no zone is named.
            until: Its end.

        Raises:
            UsageError: One is no moment, or the end does not come after the beginning.
        """
        window = cls(
            parse_moment(since, "parameter 'since'"), parse_moment(until, "parameter 'until'")
        )
        if window.since >= window.until:
            raise UsageError(
                "The window ends before it begins.",
                where="parameters 'since' and 'until'",
                expected="'until' after 'since'",
                received=f"{since} to {until}",
            )
        return window

    def to_json(self) -> dict[str, str]:
        """Tell both ends as text."""
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}


def plan_windows(judged: Window, earlier: int, terms: Sequence[datetime] = ()) -> list[Window]:
    """Lay the windows out.

    Args:
        judged: The window that is judged.
        earlier: The most earlier windows.
        terms: The starts of terms, this one's and earlier ones', in any order.

    Returns:
        The earlier windows, the oldest first, and the judged one, all of one length.

    Raises:
        UsageError: Terms are given, but the window lies before all of them.
    """
    length = judged.until - judged.since
    if not terms:
        return [
            Window(judged.since - place * length, judged.until - place * length)
            for place in range(earlier, -1, -1)
        ]
    started = sorted(term for term in terms if term < judged.until)
    if not started:
        raise UsageError(
            "The window lies before every term.",
            where="parameter 'terms'",
            expected=f"a window after {min(terms):%Y-%m-%d}, the start of the first term",
            received=f"{judged.since:%Y-%m-%d} to {judged.until:%Y-%m-%d}",
        )
    into = judged.since - started[-1]
    begins = [term + into for term in started[:-1]]
    return [*(Window(begin, begin + length) for begin in begins[-earlier:]), judged]
