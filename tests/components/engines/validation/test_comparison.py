from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.validation.comparison import compare
from components.engines.validation.schema import infer_schema, read_schema


def sample(rows: int, seed: int, shift: float = 0.0, women: float = 0.5) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {
        "score": draw.normal(50 + shift, 10, rows),
        "time": draw.lognormal(shift / 10, 2, rows),
        "gender": np.where(draw.random(rows) < women, "F", "M"),
    }


def judge(describe: Any, mine: dict[str, Any], theirs: dict[str, Any], **how: Any) -> list[Any]:
    statistics, other = describe(**mine), describe(**theirs)
    arguments: dict[str, Any] = {
        "threshold": 0.1,
        "split": "train",
        "against": "the reference",
        **how,
    }
    schema = arguments.pop("schema", None) or infer_schema(statistics)
    return compare("drift", statistics, other, schema, **arguments)


def test_equal_samples_pass_with_their_figures(describe: Any) -> None:
    checks = judge(describe, sample(20_000, 1), sample(20_000, 2))
    assert [(c.column, c.passed, c.figures["measure"]) for c in checks] == [
        ("gender", True, "L-infinity distance"),
        ("score", True, "Jensen-Shannon divergence"),
        ("time", True, "Jensen-Shannon divergence"),
    ]
    assert all(0 <= check.figures["distance"] < 0.05 for check in checks)


def test_injected_drift_is_told_in_figures(describe: Any) -> None:
    mine = {"score": [1.0] * 1_000, "gender": ["F"] * 300 + ["M"] * 600 + ["X"] * 100}
    theirs = {"score": [5.0] * 1_000, "gender": ["F"] * 800 + ["M"] * 200}
    checks = judge(describe, mine, theirs)
    assert [check.reason() for check in checks] == [
        "train.gender: The column has drifted away from earlier data (expected L-infinity "
        "distance from the reference of at most 0.1894; received 0.5, most of all in 'F').",
        "train.score: The column has drifted away from earlier data (expected Jensen-Shannon "
        "divergence from the reference of at most 0.07; received 1).",
    ]
    assert checks[0].next == (
        "find out why 'gender' changed; retrain on newer data if the change is real"
    )
    assert [check.figures["formula"] for check in checks] == [
        "max |p(v) - q(v)| over the values v",
        "H((p + q) / 2) - (H(p) + H(q)) / 2 in bits, over quantile bins",
    ]
    assert checks[0].figures["distance"] == pytest.approx(0.8 - 0.3)


def test_a_shift_in_a_long_tail_is_seen(describe: Any) -> None:
    checks = judge(describe, sample(20_000, 1, shift=10), sample(20_000, 2))
    assert {check.column: check.passed for check in checks} == {
        "gender": True,
        "score": False,
        "time": False,
    }


def test_one_threshold_serves_text_and_numbers(describe: Any) -> None:
    """A tenth of the values moves to where none was."""
    before = {"word": ["a"] * 1_000 + ["b"] * 1_000, "clicks": [1, 2] * 1_000}
    after = {"word": ["a"] * 1_000 + ["b"] * 800 + ["c"] * 200, "clicks": [1, 2] * 900 + [9] * 200}
    distances = {c.column: c.figures["distance"] for c in judge(describe, after, before)}
    assert distances["word"] == pytest.approx(0.1)
    assert distances["clicks"] == pytest.approx(0.05, abs=0.005)


def test_a_threshold_in_the_schema_holds_as_it_stands(describe: Any) -> None:
    schema = read_schema(
        """feature { name: "gender" type: BYTES
                     drift_comparator { infinity_norm { threshold: 0.001 } } }
           feature { name: "score" type: FLOAT }""",
        "here",
    )
    mine, theirs = sample(500, 1, women=0.5), sample(500, 2, women=0.6)
    checks = judge(describe, mine, theirs, schema=schema, threshold=None)
    assert [(c.column, c.figures["threshold"], c.passed) for c in checks] == [
        ("gender", 0.001, False)
    ]


def test_columns_that_cannot_be_compared_are_left_to_the_schema(describe: Any) -> None:
    mine = {"clicks": [1, 2], "word": ["a", "b"], "empty": [None, None], "gone": [1, 2]}
    theirs = {"clicks": ["1", "2"], "word": ["a", "b"], "empty": [None, None]}
    assert [check.column for check in judge(describe, mine, theirs)] == ["word"]


@settings(max_examples=25, deadline=None)
@given(st.integers(100, 2_000), st.integers(100, 2_000), st.integers(0, 10**6))
def test_chance_alone_is_no_drift(describe: Any, rows: int, others: int, seed: int) -> None:
    checks = judge(describe, sample(rows, seed), sample(others, seed + 1))
    assert [check.reason() for check in checks if not check.passed] == []


@pytest.mark.parametrize("women", [0.8, 0.9])
def test_small_samples_still_show_a_large_change(describe: Any, women: float) -> None:
    checks = judge(describe, sample(300, 1, women=women), sample(300, 2, women=0.2))
    assert not next(check for check in checks if check.column == "gender").passed
