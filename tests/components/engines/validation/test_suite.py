from __future__ import annotations

import pytest

from components.engines.validation.suite import read_suite
from learnloop.errors import UsageError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[{",
            "A suite of expectations is no JSON.\n"
            "  where:    suite.json\n"
            '  expected: [{"type": "expect_…", "kwargs": {…}}, …]\n'
            "  received: Expecting property name enclosed in double quotes: "
            "line 1 column 3 (char 2)",
        ),
        (
            '{"type": "x"}',
            "A suite of expectations is a list.\n"
            "  where:    suite.json\n"
            '  expected: [{"type": "expect_…", "kwargs": {…}}, …]\n'
            "  received: dict",
        ),
        (
            '[{"type": "expect_column_to_exist", "kwarg": {}}]',
            "An expectation has other fields than it should.\n"
            "  where:    suite.json, entry 1\n"
            "  expected: type, kwargs and, where wanted, splits and severity\n"
            "  received: type, kwarg",
        ),
        (
            '[{"type": "expect_x", "kwargs": {}, "severity": "fatal"}]',
            "An expectation has no such severity.\n"
            "  where:    suite.json, entry 1\n"
            "  expected: critical, warning or info\n"
            "  received: 'fatal'",
        ),
    ],
)
def test_a_suite_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read_suite(text, "suite.json")
    assert str(refusal.value) == message
