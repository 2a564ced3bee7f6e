"""Errors say what, where, expected, received and what to type next."""

from __future__ import annotations

import pytest

from learnloop.errors import GateRefused, GraphError, LearnLoopError, UsageError, closest


def test_an_error_shows_every_part_that_it_has() -> None:
    error = UsageError(
        "A column is missing.",
        where="scores.csv",
        expected="score",
        received="mark",
        next="learnloop show latest",
    )
    assert str(error) == (
        "A column is missing.\n"
        "  where:    scores.csv\n"
        "  expected: score\n"
        "  received: mark\n"
        "  next:     learnloop show latest"
    )


def test_an_error_leaves_out_what_it_does_not_know() -> None:
    assert str(LearnLoopError("The disk is full.", next="learnloop gc")) == (
        "The disk is full.\n  next:     learnloop gc"
    )


def test_a_refusal_gives_all_reasons() -> None:
    refusal = GateRefused(["AUC is 0.61.", "ECE is 0.2."], where="test")
    assert refusal.reasons == ("AUC is 0.61.", "ECE is 0.2.")
    assert str(refusal) == "Refused: AUC is 0.61. ECE is 0.2.\n  where:    test"


@pytest.mark.parametrize(
    ("error", "code"), [(LearnLoopError, 3), (UsageError, 2), (GraphError, 2), (GateRefused, 1)]
)
def test_exit_codes(error: type[LearnLoopError], code: int) -> None:
    assert error.exit_code == code


@pytest.mark.parametrize(
    ("name", "known", "answer"),
    [
        ("lerner", ["learner", "skill"], "did you mean 'learner'?"),
        ("zzz", ["skill", "learner"], "one of learner, skill"),
        ("zzz", [], "none exists yet"),
    ],
)
def test_closest(name: str, known: list[str], answer: str) -> None:
    assert closest(name, known) == answer
