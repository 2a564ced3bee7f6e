"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from learnloop.errors import UsageError
from learnloop.moments import parse_moment


def test_moments() -> None:
    assert parse_moment("2026-03-02T10:00+02:00", "here").astimezone(UTC).hour == 8
    assert parse_moment("2026-03-02", "here") == datetime(2026, 3, 2, tzinfo=UTC)
    with pytest.raises(UsageError) as error:
        parse_moment("last week", "parameter 'since'")
    assert str(error.value) == (
        "A date is not written as ISO 8601 writes it.\n"
        "  where:    parameter 'since'\n"
        "  expected: 2014-10-01, or 2014-10-01T04:00:00+00:00\n"
        "  received: 'last week'"
    )
