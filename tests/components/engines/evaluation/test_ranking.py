"""AUC, its interval and the ROC curve, against scikit-learn and against slow plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.evaluation import Predictions, auc, auc_with_interval, roc_curve
from components.engines.evaluation.ranking import auc_covariance

Sample = tuple[np.ndarray, np.ndarray]


def sample(rows: int, seed: int, decimals: int = 12) -> Sample:
    """Draw labels and scores that rank them moderately well; few decimals make many ties."""
    generator = np.random.default_rng(seed)
    labels = generator.random(rows) < 0.375
    scores = 1.0 / (1.0 + np.exp(-generator.normal(1.1 * labels - 0.5)))
    return labels, np.round(scores, decimals)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Small samples of both classes with many ties."""
    rows = draw(st.integers(2, 60))
    scores = draw(st.lists(st.integers(0, 8), min_size=rows, max_size=rows))
    labels = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    labels[0], labels[1] = False, True
    return np.array(labels), np.array(scores) / 8.0


def auc_by_pairs(labels: np.ndarray, scores: np.ndarray) -> float:
    """Count every pair of a positive and a negative: the definition."""
    difference = scores[labels][:, None] - scores[~labels][None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def delong_by_pairs(labels: np.ndarray, models: list[np.ndarray]) -> np.ndarray:
    """DeLong's covariance by its definition, over every pair."""
    of_positives, of_negatives = [], []
    for scores in models:
        difference = scores[labels][:, None] - scores[~labels][None, :]
        kernel = (difference > 0) + 0.5 * (difference == 0)
        of_positives.append(kernel.mean(axis=1))
        of_negatives.append(kernel.mean(axis=0))
    return (
        np.cov(np.stack(of_positives)) / labels.sum()
        + np.cov(np.stack(of_negatives)) / (~labels).sum()
    )


@pytest.mark.parametrize("decimals", [12, 2, 1])
def test_auc_equals_scikit_learn(decimals: int) -> None:
    from sklearn.metrics import roc_auc_score

    labels, scores = sample(8_728, seed=1, decimals=decimals)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@given(samples())
def test_auc_counts_pairs_and_half_of_ties(drawn: Sample) -> None:
    labels, scores = drawn
    assert auc(labels, scores) == pytest.approx(auc_by_pairs(labels, scores), abs=1e-12)


@given(samples(), st.randoms(use_true_random=False))
def test_auc_ignores_the_order_of_rows(drawn: Sample, random) -> None:
    labels, scores = drawn
    order = list(range(labels.size))
    random.shuffle(order)
    assert auc(labels[order], scores[order]) == auc(labels, scores)


@given(samples())
def test_auc_sees_only_the_order_of_scores(drawn: Sample) -> None:
    labels, scores = drawn
    assert auc(labels, np.exp(3.0 * scores) - 7.0) == auc(labels, scores)


@given(samples())
def test_auc_of_reversed_scores_is_the_rest(drawn: Sample) -> None:
    labels, scores = drawn
    assert auc(labels, -scores) == pytest.approx(1.0 - auc(labels, scores), abs=1e-12)
    assert auc(~labels, scores) == pytest.approx(1.0 - auc(labels, scores), abs=1e-12)


def test_auc_of_one_class_is_not_a_number() -> None:
    assert np.isnan(auc(np.array([True, True]), np.array([0.1, 0.2])))


def test_delong_covariance_equals_its_definition() -> None:
    labels, first = sample(300, seed=2, decimals=2)
    second = np.round(0.6 * first + 0.4 * sample(300, seed=3)[1], 2)
    areas, covariance = auc_covariance(labels, [first, second])
    np.testing.assert_allclose(areas, [auc(labels, first), auc(labels, second)], atol=1e-12)
    np.testing.assert_allclose(covariance, delong_by_pairs(labels, [first, second]), atol=1e-15)


def test_interval_equals_the_bootstraps() -> None:
    labels, scores = sample(2_000, seed=4)
    generator = np.random.default_rng(5)
    resampled = [
        auc(labels[chosen], scores[chosen])
        for chosen in (generator.integers(2_000, size=2_000) for _ in range(1_000))
    ]
    area, interval = auc_with_interval(Predictions.of(labels, scores))
    assert area == pytest.approx(auc(labels, scores), abs=1e-12)
    expected = np.quantile(resampled, [0.025, 0.975])
    np.testing.assert_allclose(interval, expected, atol=0.002)


def test_interval_covers_the_true_area() -> None:
    """Of 300 samples of 400 rows, 95 % of the intervals hold the area of the law drawn from."""
    from scipy.stats import norm

    true_area = norm.cdf(1.1 / np.sqrt(2.0))
    covered = 0
    for seed in range(300):
        made = Predictions.of(*sample(400, seed))
        low, high = auc_with_interval(made)[1] or (1.0, 0.0)
        covered += low <= true_area <= high
    assert 0.92 <= covered / 300 <= 0.98


def test_steps_of_one_learner_say_less_than_as_many_learners() -> None:
    labels, scores = sample(500, seed=6)
    alone = auc_with_interval(Predictions.of(labels, scores))[1]
    copies = np.repeat(np.arange(500), 9)
    as_if_alone = auc_with_interval(Predictions.of(labels[copies], scores[copies]))[1]
    together = auc_with_interval(Predictions.of(labels[copies], scores[copies], copies))[1]
    assert alone is not None
    assert as_if_alone is not None
    assert together == pytest.approx(alone, abs=2e-3)
    assert as_if_alone[1] - as_if_alone[0] < 0.4 * (alone[1] - alone[0])


@pytest.mark.parametrize("labels", [[True, False, False], [True, True, False]])
def test_no_interval_from_fewer_than_two_of_a_class(labels: list[bool]) -> None:
    assert auc_with_interval(Predictions.of(labels, [0.5, 0.1, 0.3]))[1] is None


@pytest.mark.parametrize("decimals", [12, 2])
def test_roc_curve_equals_scikit_learn(decimals: int) -> None:
    from sklearn import metrics

    labels, scores = sample(400, seed=7, decimals=decimals)
    curve = roc_curve(labels, scores, points=1_000)
    false, true, threshold = metrics.roc_curve(labels, scores)
    grid = np.linspace(0.0, 1.0, 1_001)[1:-1] + 1e-7
    np.testing.assert_allclose(
        np.interp(grid, curve.false_positive_rate, curve.true_positive_rate),
        np.interp(grid, false, true),
        atol=1e-12,
    )
    assert set(curve.threshold[1:]) <= set(threshold[1:].tolist())
    assert curve.threshold[0] is None


def test_a_thinned_roc_curve_keeps_its_ends_and_its_area() -> None:
    labels, scores = sample(20_000, seed=8)
    curve = roc_curve(labels, scores, points=200)
    false, true = np.array(curve.false_positive_rate), np.array(curve.true_positive_rate)
    assert len(false) <= 200
    assert (false[0], true[0], false[-1], true[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.all(np.diff(false) >= 0.0)
    assert np.all(np.diff(true) >= 0.0)
    assert np.trapz(true, false) == pytest.approx(auc(labels, scores), abs=1e-3)
