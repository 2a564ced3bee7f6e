"""Random numbers are functions of their place, and behave like random numbers."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulator.draws import Draws, geometric, sigmoid

MANY = Draws.of(5, "test", np.arange(50_000))


@settings(max_examples=50)
@given(seed=st.integers(0, 2**63 - 1), first=st.integers(0, 2**31), position=st.integers(0, 2**31))
def test_a_number_depends_on_its_place_alone(seed: int, first: int, position: int) -> None:
    together = Draws.of(seed, "stream", np.arange(first, first + 7))
    alone = Draws.of(seed, "stream", np.array([first + 3]))
    assert alone.uniform(position)[0] == together.uniform(position)[3]
    assert alone.uniform(position)[0] == together.grid(3, first=position)[3, 0]
    assert alone.uniform(np.array([position]))[0] == together.uniform(position)[3]


def by_hand(seed: int, stream: str, subject: int, position: int) -> float:
    """The same number in plain Python: data of an earlier version must stay what they were."""
    word, step = 2**64, 0x9E3779B97F4A7C15

    def mix(state: int) -> int:
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % word
        state = (state ^ state >> 27) * 0x94D049BB133111EB % word
        return state ^ state >> 31

    start = int.from_bytes(
        hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest(), "little"
    )
    key = mix((subject * step + start) % word)
    return (mix((key + (position + 1) * step) % word) >> 11) * 2.0**-53 + 2.0**-54


def test_numbers_are_those_of_splitmix64() -> None:
    drawn = Draws.of(7, "learners", np.array([0, 2_999_999])).uniform(12)
    assert drawn.tolist() == [by_hand(7, "learners", 0, 12), by_hand(7, "learners", 2_999_999, 12)]
    assert Draws.of(7, "learners", np.array([0])).uniform(0)[0] == 0.30547936270765813


@pytest.mark.parametrize("position", [0, 1, 1_000_000])
def test_uniform(position: int) -> None:
    numbers = MANY.uniform(position)
    assert numbers.min() > 0 and numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MANY.uniform(0), MANY.uniform(1)),
        (MANY.uniform(0)[1:], MANY.uniform(0)[:-1]),
        (MANY.uniform(0), Draws.of(5, "other", np.arange(50_000)).uniform(0)),
        (MANY.uniform(0), Draws.of(6, "test", np.arange(50_000)).uniform(0)),
    ],
    ids=["positions", "subjects", "streams", "seeds"],
)
def test_independent(one: np.ndarray, other: np.ndarray) -> None:
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(len(one))


def test_normal() -> None:
    assert stats.kstest(MANY.normal(3), "norm").pvalue > 1e-3


def test_choice_has_the_shares() -> None:
    counts = np.bincount(MANY.choice(2, (1.0, 3.0, 6.0)))
    assert stats.chisquare(counts, np.array([0.1, 0.3, 0.6]) * 50_000).pvalue > 1e-3


def test_geometric_has_the_mean() -> None:
    counts = geometric(MANY.uniform(4), 2.5)
    assert counts.min() == 0
    assert counts.mean() == pytest.approx(2.5, abs=0.06)


def test_sigmoid() -> None:
    assert sigmoid(np.array([0.0, np.log(3.0)])).tolist() == pytest.approx([0.5, 0.75])
