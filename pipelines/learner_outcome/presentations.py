"""Which presentations a span of time lets the model learn from, and be judged by.

A label is the end of a course, so a presentation counts from the day on which its outcomes are
known. OULAD's codes name a year and a month (B starts in February, J in October; Kuzilek, Hlosta,
Zdrahal, Scientific Data 4:170171, 2017) and ``courses`` has each module's length in days. The day
of the month is not published: the first is taken. A presentation's outcomes are known when its
longest module has ended.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from learnloop.artifacts import Records
from learnloop.errors import UsageError
from learnloop.moments import parse_moment

START_MONTHS = {"B": 2, "J": 10}
"""The month in which a presentation starts, by the last letter of its code."""


def outcomes_known(records: Records) -> dict[str, date]:
    """Tell from which day the outcomes of each presentation are known.

    Args:
        records: The raw OULAD tables.

    Returns:
        The day by presentation, in order of time.

    Raises:
        UsageError: A presentation's code or length does not tell when it ends.
    """
    columns = ["code_presentation", "module_presentation_length"]
    known: dict[str, date] = {}
    for row in records.table("courses", columns).to_pylist():
        name, length = row["code_presentation"], row["module_presentation_length"]
        if length is None:
            raise UsageError(
                f"A module of presentation '{name}' has no length: its end is not known.",
                where="table 'courses', column 'module_presentation_length'",
                expected="a number of days",
                received="none",
            )
        end = start_of(name) + timedelta(days=length)
        known[name] = max(end, known.get(name, end))
    return dict(sorted(known.items(), key=lambda item: (item[1], item[0])))


def start_of(presentation: str) -> date:
    """Tell on which day a presentation starts.

    Args:
        presentation: A year, and ``B`` for February or ``J`` for October.

    Raises:
        UsageError: The code is another.

    Example:
        >>> start_of("2014J")
        datetime.date(2014, 10, 1)
    """
    year, letter = presentation[:-1], presentation[-1:]
    if len(year) == 4 and year.isdecimal() and letter in START_MONTHS:
        return date(int(year), START_MONTHS[letter], 1)
    raise UsageError(
        "A presentation's code does not tell when it starts.",
        where="table 'courses', column 'code_presentation'",
        expected="a year, then B (February) or J (October), as in 2014J",
        received=repr(presentation),
        next="leave since and until empty, and name the presentations",
    )


def choose_by_time(
    records: Records, since: str, until: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose presentations as a schedule would have had to, at the end of its interval.

    Args:
        records: The raw OULAD tables.
        since: The first day of the span, or a moment of it, in ISO 8601.
        until: Its end, which no longer belongs to it.

    Returns:
        Those to learn from, known before the span; those to judge by, known within it.

    Raises:
        UsageError: The span is none, or there is nothing to learn from or to judge by.
    """
    begin, end = _span(since, until)
    known = {
        name: datetime(day.year, day.month, day.day, tzinfo=UTC)
        for name, day in outcomes_known(records).items()
    }
    train = tuple(name for name, moment in known.items() if moment < begin)
    judged = tuple(name for name, moment in known.items() if begin <= moment < end)
    for names, purpose, wanted in (
        (train, "learn from", f"outcomes known before {since}"),
        (judged, "judge the model by", f"outcomes that became known from {since} to {until}"),
    ):
        if not names:
            raise UsageError(
                f"There is no presentation to {purpose}.",
                where="parameters 'since' and 'until'",
                expected=wanted,
                received=", ".join(f"{n} ({moment:%Y-%m-%d})" for n, moment in known.items()),
                next="take another span, or bring the source up to date",
            )
    return train, judged


def days_ended(since: str, until: str) -> list[date]:
    """List the days that a schedule has to make up for: a day ends when the next one begins.

    Args:
        since: The moment after which a day must end, in ISO 8601; for the last day alone, empty.
        until: The last moment at which it may end.

    Returns:
        The dates with which the days after them begin, in order.

    Raises:
        UsageError: The span is none.

    Example:
        >>> days_ended("2014-12-01", "2014-12-03T06:00")
        [datetime.date(2014, 12, 2), datetime.date(2014, 12, 3)]
    """
    last = parse_moment(until, "parameter 'until'").date()
    if not since:
        return [last]
    begin, _ = _span(since, until)
    return [begin.date() + timedelta(days=n) for n in range(1, (last - begin.date()).days + 1)]


def _span(since: str, until: str) -> tuple[datetime, datetime]:
    begin = parse_moment(since, "parameter 'since'")
    end = parse_moment(until, "parameter 'until'")
    if begin >= end:
        raise UsageError(
            "The span ends before it begins.",
            where="parameters 'since' and 'until'",
            expected=f"until after {since}",
            received=until,
        )
    return begin, end
