"""The figures of one set of rows: how well ranked, how likely, how calibrated, how decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.engines.evaluation import calibration, ranking
from components.engines.evaluation.predictions import Booleans, Floats, Predictions

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Confusion:
    """Decisions at a threshold: called positive where the prediction is at least the threshold."""

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def true_positive_rate(self) -> float | None:
        """Share of positives called positive; None when there are none."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def false_positive_rate(self) -> float | None:
        """Share of negatives called positive; None when there are none."""
        return _ratio(self.false_positives, self.false_positives + self.true_negatives)


@dataclass(frozen=True)
class Metrics:
    """The figures of one set of rows; a figure that the rows cannot give is None.

    Attributes:
        rows: Predictions judged.
        positives: Those whose label is true.
        base_rate: Share of positives.
        mean_prediction: Mean predicted probability; far from the base rate means miscalibrated.
        auc: Area under the ROC curve.
        auc_interval: Its 95 % interval (DeLong).
        auc_reason: Why the AUC is None, else empty.
        log_loss: Mean negative log likelihood, natural logarithm.
        brier: Mean squared error of the probability. Brier (1950), Monthly Weather Review 78(1).
        ece: Expected calibration error over ten bins of equal width.
        ece_quantile: The same over ten bins of equal weight.
        confusion: Decisions at the threshold.
    """

    rows: int
    positives: int
    base_rate: float | None
    mean_prediction: float | None
    auc: float | None
    auc_interval: tuple[float, float] | None
    auc_reason: str
    log_loss: float | None
    brier: float | None
    ece: float | None
    ece_quantile: float | None
    confusion: Confusion


def measure(made: Predictions, threshold: float = 0.5) -> Metrics:
    """Take every figure of these predictions.

    Args:
        made: Labels and predictions of the rows.
        threshold: A prediction of at least this is a decision for the event.

    Returns:
        The figures.

    Example:
        >>> measure(Predictions.of([0, 1], [0.2, 0.8])).auc
        1.0
    """
    labels, scores = made.labels, made.scores
    positives = int(np.count_nonzero(labels))
    confusion = confusion_at(labels, scores, threshold)
    if made.rows == 0:
        return Metrics(
            0, 0, None, None, None, None, "there are no rows", None, None, None, None, confusion
        )
    reason = _why_no_auc(made.rows, positives)
    area, interval = (None, None) if reason else ranking.auc_with_interval(made)
    return Metrics(
        rows=made.rows,
        positives=positives,
        base_rate=positives / made.rows,
        mean_prediction=float(scores.mean()),
        auc=area,
        auc_interval=interval,
        auc_reason=reason,
        log_loss=float(log_losses(labels, scores).mean()),
        brier=float(np.square(scores - labels).mean()),
        ece=calibration.calibration_curve(labels, scores, "width").expected_error,
        ece_quantile=calibration.calibration_curve(labels, scores, "quantile").expected_error,
        confusion=confusion,
    )


def log_losses(labels: Booleans, scores: Floats) -> Floats:
    """Give each row's negative log likelihood, certainty being held just short of 0 and 1.

    Args:
        labels: ``[rows]`` bool.
        scores: ``[rows]`` float64 in 0..1.

    Returns:
        ``[rows]`` float64, natural logarithm.
    """
    likely = np.clip(scores, SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    losses: Floats = -np.log(np.where(labels, likely, 1.0 - likely))
    return losses


def confusion_at(labels: Booleans, scores: Floats, threshold: float) -> Confusion:
    """Count decisions against labels at a threshold (``score >= threshold`` decides for)."""
    called = scores >= threshold
    hits = int(np.count_nonzero(called & labels))
    positives, calls = int(np.count_nonzero(labels)), int(np.count_nonzero(called))
    return Confusion(
        threshold=threshold,
        true_positives=hits,
        false_positives=calls - hits,
        true_negatives=int(labels.size) - positives - (calls - hits),
        false_negatives=positives - hits,
    )


def _why_no_auc(rows: int, positives: int) -> str:
    if positives == 0:
        return f"all {rows:,} rows are negative"
    if positives == rows:
        return f"all {rows:,} rows are positive"
    return ""


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
