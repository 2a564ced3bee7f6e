"""Windows of time: the one judged, and those it is judged by."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from components.engines.monitoring.windows import Window, plan_windows
from learnloop.errors import UsageError

WEEK = Window.parse("2026-03-16", "2026-03-23")


def spans(windows: list[Window]) -> list[tuple[str, str]]:
    return [(f"{one.since:%Y-%m-%d}", f"{one.until:%Y-%m-%d}") for one in windows]


def test_without_terms_the_earlier_windows_come_just_before() -> None:
    assert spans(plan_windows(WEEK, 2)) == [
        ("2026-03-02", "2026-03-09"),
        ("2026-03-09", "2026-03-16"),
        ("2026-03-16", "2026-03-23"),
    ]


def test_with_terms_they_are_the_same_days_of_earlier_terms() -> None:
    terms = [datetime(year, 2, 2, tzinfo=UTC) for year in (2026, 2024, 2025, 2027)]
    assert spans(plan_windows(WEEK, 8, terms)) == [
        ("2024-03-15", "2024-03-22"),
        ("2025-03-16", "2025-03-23"),
        ("2026-03-16", "2026-03-23"),
    ]
    assert spans(plan_windows(WEEK, 1, terms))[0] == ("2025-03-16", "2025-03-23")


def test_a_window_before_every_term_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        plan_windows(WEEK, 8, [datetime(2027, 2, 1, tzinfo=UTC)])
    assert str(error.value) == (
        "The window lies before every term.\n"
        "  where:    parameter 'terms'\n"
        "  expected: a window after 2027-02-01, the start of the first term\n"
        "  received: 2026-03-16 to 2026-03-23"
    )


def test_a_window_must_have_a_length() -> None:
    with pytest.raises(UsageError) as error:
        Window.parse("2026-03-23", "2026-03-23")
    assert str(error.value) == (
        "The window ends before it begins.\n"
        "  where:    parameters 'since' and 'until'\n"
        "  expected: 'until' after 'since'\n"
        "  received: 2026-03-23 to 2026-03-23"
    )
