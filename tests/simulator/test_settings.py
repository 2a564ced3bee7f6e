"""What is asked of a simulation is checked before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import SimulationError, SimulationSettings

HELP = "learnloop simulate --help"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"attempts": 999},
            "A setting is out of its range. attempts: expected 1,000 to 100,000,000, "
            f"received 999. {HELP}",
        ),
        (
            {"learners": 0},
            f"A setting is out of its range. learners: expected 1 to 100,000, received 0. {HELP}",
        ),
        (
            {"drift": 1.5},
            f"A setting is out of its range. drift: expected 0 to 1, received 1.5. {HELP}",
        ),
        (
            {"bias": -0.1},
            f"A setting is out of its range. bias: expected 0 to 1, received -0.1. {HELP}",
        ),
        (
            {"corruption": 0.6},
            f"A setting is out of its range. corruption: expected 0 to 0.5, received 0.6. {HELP}",
        ),
        (
            {"drift_from": "2015B"},
            "A presentation is unknown. drift_from: expected one of 2013B, 2013J, 2014B, 2014J, "
            f"received 2015B. {HELP}",
        ),
    ],
)
def test_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError) as refused:
        SimulationSettings(**given)
    assert str(refused.value) == message


def test_learners_follow_from_attempts_unless_given() -> None:
    assert SimulationSettings(attempts=3_200).learner_count == 100
    assert SimulationSettings(attempts=3_200, learners=7).learner_count == 7


def test_drift_begins_with_its_presentation() -> None:
    settings = SimulationSettings(drift=0.4, drift_from="2014B")
    assert [settings.drift_at(place) for place in range(4)] == [0.0, 0.0, 0.4, 0.4]
