"""Figures of a set of rows, against scikit-learn; what is refused at the door; calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.evaluation import Predictions, calibration_curve, confusion_at, measure
from learnloop.errors import UsageError


def sample(rows: int = 8_728, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Draw predictions that are calibrated: each label is drawn by its own probability."""
    generator = np.random.default_rng(seed)
    scores = generator.beta(1.2, 2.0, rows)
    return generator.random(rows) < scores, scores


def test_figures_equal_scikit_learn() -> None:
    from sklearn import metrics

    labels, scores = sample()
    figures = measure(Predictions.of(labels, scores), threshold=0.4)
    assert figures.auc == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    assert figures.log_loss == pytest.approx(metrics.log_loss(labels, scores), abs=1e-12)
    assert figures.brier == pytest.approx(metrics.brier_score_loss(labels, scores), abs=1e-12)
    decided = figures.confusion
    assert metrics.confusion_matrix(labels, scores >= 0.4).ravel().tolist() == [
        decided.true_negatives,
        decided.false_positives,
        decided.false_negatives,
        decided.true_positives,
    ]
    assert (figures.rows, figures.positives) == (8_728, int(labels.sum()))
    assert figures.base_rate == pytest.approx(labels.mean(), abs=1e-12)
    assert figures.mean_prediction == pytest.approx(scores.mean(), abs=1e-12)


def test_certainty_that_is_wrong_costs_much_but_not_everything() -> None:
    from sklearn.metrics import log_loss

    figures = measure(Predictions.of([0, 1, 1], [1.0, 1.0, 0.0]))
    assert figures.log_loss == pytest.approx(log_loss([0, 1, 1], [1.0, 1.0, 0.0]), abs=1e-12)


def test_rates_of_a_confusion() -> None:
    decided = confusion_at(
        np.array([True, True, True, False]), np.array([0.5, 0.4, 0.9, 0.7]), threshold=0.5
    )
    assert decided.true_positive_rate == pytest.approx(2 / 3)
    assert decided.false_positive_rate == 1.0
    no_negatives = confusion_at(np.array([True]), np.array([0.7]), threshold=0.5)
    assert no_negatives.false_positive_rate is None


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([0, 0, 0], "all 3 rows are negative"),
        ([1, 1, 1], "all 3 rows are positive"),
        ([], "there are no rows"),
    ],
)
def test_one_class_has_no_auc_and_says_why(labels: list[int], reason: str) -> None:
    figures = measure(Predictions.of(labels, [0.2, 0.3, 0.4][: len(labels)]))
    assert (figures.auc, figures.auc_interval, figures.auc_reason) == (None, None, reason)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (
            [0, 1, 1],
            [0.1, 0.2],
            "Labels and predictions do not belong to the same rows.\n"
            "  expected: 3 predictions, one for each label\n"
            "  received: 2 predictions",
        ),
        (
            [0, 1, 3, 7],
            [0.1, 0.2, 0.3, 0.4],
            "A label is neither 0 nor 1.\n"
            "  where:    row 2\n"
            "  expected: 0 or 1 in every row\n"
            "  received: 3 (2 such rows)",
        ),
        (
            [0, 1, 1, 0],
            [0.1, float("nan"), float("inf"), -0.5],
            "A prediction is not a probability.\n"
            "  where:    row 1\n"
            "  expected: a finite number from 0 to 1 in every row\n"
            "  received: 2 of 4 not finite and 1 of 4 outside 0 to 1",
        ),
    ],
)
def test_what_is_no_prediction_is_refused(
    labels: list[int], scores: list[float], message: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        Predictions.of(labels, scores)
    assert str(refusal.value) == message


def test_calibrated_predictions_have_almost_no_error() -> None:
    labels, scores = sample(200_000)
    for binning in ("width", "quantile"):
        assert calibration_curve(labels, scores, binning).expected_error < 0.006


def test_a_known_miscalibration_is_measured() -> None:
    """Every prediction 0.15 too high: both errors are 0.15, in every bin."""
    generator = np.random.default_rng(2)
    truth = generator.uniform(0.0, 0.8, 400_000)
    labels = generator.random(400_000) < truth
    for binning in ("width", "quantile"):
        curve = calibration_curve(labels, truth + 0.15, binning)
        assert curve.expected_error == pytest.approx(0.15, abs=0.003)
        assert curve.greatest_error == pytest.approx(0.15, abs=0.015)


def test_expected_error_by_hand() -> None:
    curve = calibration_curve(
        np.array([False, True, True, True]), np.array([0.11, 0.19, 0.81, 0.89])
    )
    assert [(part.rows, part.observed_rate) for part in curve.bins] == [(2, 0.5), (2, 1.0)]
    assert [part.mean_prediction for part in curve.bins] == pytest.approx([0.15, 0.85])
    assert curve.expected_error == pytest.approx(0.5 * 0.35 + 0.5 * 0.15)
    assert curve.greatest_error == pytest.approx(0.35)


def test_calibration_curve_equals_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve as reference

    labels, scores = sample()
    observed, predicted = reference(labels, scores, n_bins=10)
    curve = calibration_curve(labels, scores)
    np.testing.assert_allclose([part.observed_rate for part in curve.bins], observed, atol=1e-12)
    np.testing.assert_allclose([part.mean_prediction for part in curve.bins], predicted, atol=1e-12)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=50),
    st.sampled_from(["width", "quantile"]),
    st.randoms(use_true_random=False),
)
def test_equal_predictions_share_a_bin_and_order_does_not_matter(rows, binning, random) -> None:
    curve = _curve(rows, binning)
    assert sum(part.rows for part in curve.bins) == len(rows)
    for left, right in zip(curve.bins, curve.bins[1:], strict=False):
        assert left.mean_prediction < right.mean_prediction
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert _curve(shuffled, binning).expected_error == pytest.approx(curve.expected_error, abs=1e-9)


def _curve(rows, binning):
    labels, scores = zip(*rows, strict=True)
    return calibration_curve(np.array(labels), np.array(scores) / 5.0, binning)
