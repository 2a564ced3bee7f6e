"""Distances say by their counts what they say by their figure."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.monitoring.distances import Distance, measure_column


def chunked(values: list[object], kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def test_numbers_are_counted_into_the_deciles_of_the_reference() -> None:
    reference = chunked([float(number) for number in range(100)], pa.float64())
    current = chunked([5.0, 5.0, 95.0, None], pa.float64())
    found = measure_column("clicks", reference, current)
    assert found.bins[0] == "below 9.9"
    assert found.bins[-2:] == ("from 89.1", "missing")
    assert found.reference == (10,) * 10 + (0,)
    assert found.current == (2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1)


def test_few_numbers_are_their_own_bins() -> None:
    found = measure_column(
        "correct", chunked([True, False, True], pa.bool_()), chunked([False, None], pa.bool_())
    )
    assert found.bins == ("0", "1", "missing")
    assert (found.reference, found.current) == ((1, 2, 0), (1, 0, 1))


def test_texts_are_counted_by_value() -> None:
    found = measure_column(
        "region",
        chunked(["north", "south", "north"], pa.string()),
        chunked(["south", "west", None], pa.string()),
    )
    assert found.bins == ("north", "south", "other", "missing")
    assert (found.reference, found.current) == ((2, 1, 0, 0), (0, 1, 1, 1))


def test_the_divergence_is_the_one_of_its_formula() -> None:
    found = Distance("x", ("a", "b"), (3, 1), (1, 1))
    p, q = np.array([0.75, 0.25]), np.array([0.5, 0.5])

    def entropy(shares: np.ndarray) -> float:
        return float(-(shares * np.log2(shares)).sum())

    assert found.value == pytest.approx(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2)
    assert found.chance == pytest.approx(1 / 8 * (1 / 4 + 1 / 2) / math.log(2))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8))
def test_the_divergence_stays_between_nothing_and_everything(
    counts: list[tuple[int, int]],
) -> None:
    bins = tuple(str(number) for number in range(len(counts)))
    first, second = (tuple(pair[side] for pair in counts) for side in (0, 1))
    there, back = Distance("x", bins, first, second), Distance("x", bins, second, first)
    if any(first) and any(second):
        assert 0 <= there.value <= 1 + 1e-9
        assert there.value == pytest.approx(back.value)
        assert Distance("x", bins, first, first).value == pytest.approx(0)


def test_what_chance_alone_brings_is_what_equal_samples_show() -> None:
    random = np.random.default_rng(1)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    values, chance = [], 0.0
    for _ in range(400):
        first, second = random.multinomial(300, shares), random.multinomial(500, shares)
        found = Distance("x", tuple("abcd"), tuple(first.tolist()), tuple(second.tolist()))
        values.append(found.value)
        chance = found.chance
    assert np.mean(values) == pytest.approx(chance, rel=0.15)
