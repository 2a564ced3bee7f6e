"""Slices and groups: what is shown, what is withheld, and what chance alone would show."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.evaluation import (
    Grouping,
    Predictions,
    abroca,
    auc,
    group,
    judge_fairness,
    measure_slices,
)
from components.engines.evaluation.fairness import abroca_null
from learnloop.errors import UsageError


def oulad_like(rows: int = 8_728, seed: int = 1, weaker: float = 1.1):
    """Draw rows like the day-60 test set: base rate 0.375, two groups of 54 and 46 %.

    ``weaker`` is how well positives stand out in the second group (1.1 in the first).
    """
    generator = np.random.default_rng(seed)
    in_group = generator.random(rows) < 0.46
    labels = generator.random(rows) < 0.375
    lift = np.where(in_group, weaker, 1.1)
    scores = 1.0 / (1.0 + np.exp(-generator.normal(lift * labels - 0.5)))
    return labels, scores, in_group


def grouping(in_group: np.ndarray) -> Grouping:
    return Grouping("gender", ("F", "M"), np.where(in_group, 0, 1))


def abroca_on_a_grid(labels, scores, in_group) -> float:
    """The area by a million midpoints under scikit-learn's curves."""
    from sklearn.metrics import roc_curve

    grid = (np.arange(1_000_000) + 0.5) / 1_000_000
    heights = []
    for members in (in_group, ~in_group):
        false, true, _ = roc_curve(labels[members], scores[members])
        heights.append(np.interp(grid, false, true))
    return float(np.abs(heights[0] - heights[1]).mean())


@pytest.mark.parametrize("decimals", [12, 2, 1])
def test_abroca_equals_fine_integration(decimals: int) -> None:
    labels, scores, in_group = oulad_like(3_000, weaker=0.6)
    scores = np.round(scores, decimals)
    expected = abroca_on_a_grid(labels, scores, in_group)
    assert abroca(labels, scores, in_group) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_abroca_is_symmetric_and_bounds_the_difference_in_auc(seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.tile([True, False], 20)
    in_group = np.repeat([True, False], 20)
    scores = generator.integers(0, levels, 40) / 12.0
    area = abroca(labels, scores, in_group)
    assert area == pytest.approx(abroca(labels, scores, ~in_group), abs=1e-12)
    assert area == pytest.approx(abroca(labels, 1.0 - scores, in_group), abs=1e-12)
    gap = auc(labels[in_group], scores[in_group]) - auc(labels[~in_group], scores[~in_group])
    assert abs(gap) - 1e-12 <= area <= 1.0


def test_groups_served_equally_do_not_exceed_chance() -> None:
    """With 100 equal pairs of groups, 5 % of the p-values lie below 0.05 (within chance)."""
    found = []
    for seed in range(100):
        labels, scores, in_group = oulad_like(400, seed)
        null = abroca_null(labels, scores, in_group, permutations=59, seed=seed)
        found.append(np.mean(null >= abroca(labels, scores, in_group)))
    assert np.mean(np.array(found) < 0.05) <= 0.12
    assert np.mean(found) == pytest.approx(0.5, abs=0.09)


def test_an_unequal_group_exceeds_chance_and_is_named() -> None:
    labels, scores, in_group = oulad_like(weaker=0.5)
    found = judge_fairness(Predictions.of(labels, scores), grouping(in_group), seed=3)
    assert (found.reference, [group.value for group in found.groups]) == ("M", ["F", "M"])
    (female,) = found.abroca
    assert female.value == "F"
    assert female.area == pytest.approx(0.13, abs=0.04)
    assert female.null_p95 == pytest.approx(0.02, abs=0.005)
    assert female.p_value == pytest.approx(1 / 1_001)
    assert female.excess == pytest.approx(female.area - female.null_p95)


def test_the_null_of_joined_neighbours_equals_the_exact_one() -> None:
    labels, scores, in_group = oulad_like(seed=5)
    joined = abroca_null(labels, scores, in_group, permutations=400, seed=1)
    generator = np.random.default_rng(2)
    exact = []
    for _ in range(150):
        shuffled = in_group.copy()
        for members in (labels, ~labels):
            shuffled[members] = generator.permutation(in_group[members])
        exact.append(abroca(labels, scores, shuffled))
    assert np.mean(joined) == pytest.approx(np.mean(exact), abs=0.0015)
    assert np.quantile(joined, 0.9) == pytest.approx(np.quantile(exact, 0.9), abs=0.003)


def test_the_null_is_the_same_for_the_same_seed() -> None:
    labels, scores, in_group = oulad_like(500)
    first = abroca_null(labels, scores, in_group, permutations=20, seed=4)
    again = abroca_null(labels, scores, in_group, permutations=20, seed=4)
    other = abroca_null(labels, scores, in_group, permutations=20, seed=5)
    assert first.tolist() == again.tolist() != other.tolist()


def test_a_thousand_permutations_of_the_real_size_take_about_a_second() -> None:
    labels, scores, in_group = oulad_like()
    start = time.process_time()
    abroca_null(labels, scores, in_group, permutations=1_000, seed=1)
    assert time.process_time() - start < 20.0


def test_equalised_odds_gaps_by_hand() -> None:
    values = np.repeat([0, 1], 100)
    labels = np.tile(np.repeat([True, False], 50), 2)
    called = np.concatenate([np.ones(40), np.zeros(10), np.ones(5), np.zeros(45)])
    called = np.concatenate([called, np.ones(30), np.zeros(20), np.ones(10), np.zeros(40)])
    found = judge_fairness(
        Predictions.of(labels, 0.2 + 0.6 * called), Grouping("age", ("0-35", "35-55"), values)
    )
    assert [round(group.true_positive_rate, 3) for group in found.groups] == [0.8, 0.6]
    assert [round(group.false_positive_rate, 3) for group in found.groups] == [0.1, 0.2]
    assert found.true_positive_rate_gap == pytest.approx(0.2)
    assert found.false_positive_rate_gap == pytest.approx(0.1)


def test_groups_too_small_or_of_one_class_are_left_out() -> None:
    labels, scores, _ = oulad_like(1_000)
    code = np.zeros(1_000, dtype=np.int64)
    code[:99] = 1
    code[np.flatnonzero(~labels)[-150:]] = 2
    found = judge_fairness(
        Predictions.of(labels, scores), Grouping("band", ("a", "b", "c"), code), permutations=9
    )
    assert [group.value for group in found.groups] == ["a"]
    assert (found.reference, found.abroca, found.too_small) == ("a", (), 2)
    nothing = judge_fairness(
        Predictions.of(labels, scores), Grouping("band", ("a",), code * 0), minimum_rows=5_000
    )
    assert (nothing.reference, nothing.groups, nothing.too_small) == ("", (), 1)


def test_group_by_a_column_and_by_columns_crossed() -> None:
    table = pa.table({"gender": ["M", "F", None, "M"], "attempts": [0, 1, 1, 0]})
    by_gender = group(table, "gender")
    assert by_gender.values == ("(missing)", "F", "M")
    assert by_gender.code.tolist() == [2, 1, 0, 2]
    crossed = group(table, "gender*attempts")
    assert crossed.values == ("(missing), 1", "F, 1", "M, 0")
    assert crossed.code.tolist() == [2, 1, 0, 2]
    assert crossed.rows.tolist() == [1, 1, 2]


def test_slices_show_their_figures_and_withhold_the_small() -> None:
    labels, scores, in_group = oulad_like(2_000)
    code = np.where(in_group, 0, 1)
    code[:30], code[30:60] = 2, 3
    made = Predictions.of(labels, scores)
    slices, withheld = measure_slices(made, Grouping("region", ("a", "b", "c", "d"), code), 100)
    assert [part.value for part in slices] == ["a", "b"]
    assert slices[0].metrics.auc == auc(labels[code == 0], scores[code == 0])
    assert slices[1].metrics.rows == int((code == 1).sum())
    assert withheld is not None
    assert (withheld.slices, withheld.rows) == (2, 60)


def test_a_slice_knows_which_rows_belong_together() -> None:
    labels, scores, _ = oulad_like(400)
    copies = np.repeat(np.arange(400), 9)
    whole = Grouping("region", ("a",), np.zeros(3_600, dtype=np.int64))
    made = Predictions.of(labels[copies], scores[copies], copies)
    apart = Predictions.of(labels[copies], scores[copies])
    ((together,), _), ((as_if_alone,), _) = (measure_slices(p, whole, 100) for p in (made, apart))
    intervals = (together.metrics.auc_interval, as_if_alone.metrics.auc_interval)
    widths = [high - low for low, high in intervals]
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.05)


def test_a_column_of_many_values_is_no_slice() -> None:
    table = pa.table({"learner": [f"learner {number}" for number in range(300)]})
    with pytest.raises(UsageError) as refusal:
        group(table, "learner")
    assert str(refusal.value) == (
        "Column 'learner' has too many values to slice by.\n"
        "  expected: at most 250 distinct values\n"
        "  received: 300 distinct values\n"
        "  next:     slice by a column of few values, or cut this one into bands first"
    )


def test_an_unknown_column_is_answered_with_the_closest() -> None:
    with pytest.raises(UsageError) as refusal:
        group(pa.table({"gender": ["M"]}), "gendre")
    assert str(refusal.value) == (
        "There is no column 'gendre' to slice by.\n"
        "  expected: did you mean 'gender'?\n"
        "  received: gendre\n"
        "  next:     name a raw column of the examples, or several crossed as a*b"
    )
