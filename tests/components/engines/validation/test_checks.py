from __future__ import annotations

import doctest

from components.engines.validation import checks
from components.engines.validation.checks import Check, only_warn


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(checks).failed == 0


def test_only_the_judges_named_refuse() -> None:
    found = [
        Check("drift", "train", "score", False, "x"),
        Check("tfdv", "train", "score", False, "x"),
    ]
    assert [(c.source, c.refuses) for c in only_warn(found, ("tfdv",))] == [
        ("drift", False),
        ("tfdv", True),
    ]


def test_a_reason_names_only_what_is_known() -> None:
    check = Check("tfdv", "test", "", False, "It is odd.", received="3 rows")
    assert check.reason() == "test: It is odd (received 3 rows)."
    assert Check("tfdv", "test", "a", False, "It is odd.").reason() == "test.a: It is odd."


def test_a_check_becomes_json() -> None:
    check = Check("skew", "train", "score", True, "As before.", figures={"distance": 0.25})
    assert check.to_document() == {
        "source": "skew",
        "split": "train",
        "column": "score",
        "where": "train.score",
        "passed": True,
        "what": "As before.",
        "expected": "",
        "received": "",
        "next": "",
        "severity": "error",
        "figures": {"distance": 0.25},
    }
