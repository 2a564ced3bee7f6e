"""How well scores rank: the ROC curve, the area under it, and how sure we are of that area.

Curves, groups and weighted resamples are computed from *tie blocks*: the distinct scores in
ascending order, with the number of positive and negative rows at each. The area of a whole sample
needs less: each class sorted, and a search for each score among the other class's. Both treat ties
exactly (a tied pair counts half).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.engines.evaluation.predictions import Booleans, Floats, Integers, Predictions

NORMAL_95 = 1.959963984540054
CURVE_POINTS = 200


@dataclass(frozen=True)
class RocCurve:
    """The points of a ROC curve, from (0, 0) to (1, 1), in ascending order.

    Attributes:
        false_positive_rate: Rate of negatives scored at or above the threshold.
        true_positive_rate: Rate of positives scored at or above the threshold.
        threshold: The score at each point; the first, where nothing is called positive, is None.
    """

    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]
    threshold: tuple[float | None, ...]


def tie_blocks(scores: Floats) -> tuple[Floats, Integers]:
    """Find the distinct scores, ascending, and for each row which of them it has.

    Args:
        scores: ``[rows]`` float64.

    Returns:
        The distinct scores ``[blocks]`` and each row's block ``[rows]``.
    """
    values, block = np.unique(scores, return_inverse=True)
    return values, block.astype(np.int64)


def auc_of_counts(positives: npt.NDArray[np.generic], negatives: npt.NDArray[np.generic]) -> float:
    """Take the area under the ROC curve from the weight of each class in each tie block.

    Args:
        positives: ``[blocks]`` number (or weight) of positive rows, ascending in score.
        negatives: ``[blocks]`` number (or weight) of negative rows.

    Returns:
        The probability that a positive outranks a negative, ties counting half; NaN when a class
        is empty.
    """
    of_positives, of_negatives = positives.astype(np.float64), negatives.astype(np.float64)
    pairs = of_positives.sum() * of_negatives.sum()
    if pairs == 0.0:
        return float("nan")
    below = np.cumsum(of_negatives) - 0.5 * of_negatives
    return float(of_positives @ below / pairs)


def auc(labels: Booleans, scores: Floats) -> float:
    """Measure the area under the ROC curve exactly, ties counting half.

    Args:
        labels: ``[rows]`` bool.
        scores: ``[rows]`` float64; only their order matters.

    Returns:
        The area, NaN when one class is missing.

    Example:
        >>> auc(np.array([False, True, True]), np.array([0.2, 0.2, 0.9]))
        0.75
    """
    positives, negatives = np.sort(scores[labels]), np.sort(scores[~labels])
    if not positives.size * negatives.size:
        return float("nan")
    outranked = _twice_outranked(positives, negatives)
    return float(outranked.sum() / (2 * positives.size * negatives.size))


def placements(labels: Booleans, scores: Floats) -> Floats:
    """Place each row among the rows of the other class (DeLong's structural components).

    A positive's placement is the share of negatives it outranks, a negative's the share of
    positives that outrank it, ties counting half; both classes' placements average to the AUC.
    One sort gives them all, as in Sun & Xu (2014), "Fast implementation of DeLong's algorithm",
    IEEE Signal Processing Letters 21(11).

    Args:
        labels: ``[rows]`` bool with both classes.
        scores: ``[rows]`` float64.

    Returns:
        ``[rows]`` float64 in 0..1.
    """
    values, block = tie_blocks(scores)
    positives = np.bincount(block[labels], minlength=values.size)
    negatives = np.bincount(block[~labels], minlength=values.size)
    outranked = (np.cumsum(negatives) - 0.5 * negatives) / max(int(negatives.sum()), 1)
    outranking = 1.0 - (np.cumsum(positives) - 0.5 * positives) / max(int(positives.sum()), 1)
    return np.where(labels, outranked[block], outranking[block])


def auc_covariance(
    labels: Booleans, scores_of_models: list[Floats], clusters: Integers | None = None
) -> tuple[Floats, Floats]:
    """Estimate the AUCs of models on the same rows, and the covariance of those estimates.

    DeLong, DeLong & Clarke-Pearson (1988), "Comparing the areas under two or more correlated
    receiver operating characteristic curves", Biometrics 44(3). With clusters, the rows of a
    cluster are summed before they are squared, after Obuchowski (1997), "Nonparametric analysis of
    clustered ROC curve data", Biometrics 53(2): many steps of one learner say less than as many
    learners.

    Args:
        labels: ``[rows]`` bool with at least two rows of each class.
        scores_of_models: One ``[rows]`` float64 array for each model.
        clusters: ``[rows]`` int64, dense, or None when rows are independent.

    Returns:
        The AUCs ``[models]`` and their covariance ``[models, models]``.
    """
    placed = np.stack([placements(labels, scores) for scores in scores_of_models])
    areas = placed[:, labels].mean(axis=1)
    if clusters is None:
        of_positives = np.atleast_2d(np.cov(placed[:, labels])) / np.count_nonzero(labels)
        of_negatives = np.atleast_2d(np.cov(placed[:, ~labels])) / np.count_nonzero(~labels)
        return areas, of_positives + of_negatives
    class_size = np.where(labels, np.count_nonzero(labels), np.count_nonzero(~labels))
    influence = (placed - areas[:, None]) / class_size
    of_clusters = np.stack([np.bincount(clusters, weights=row) for row in influence])
    count = of_clusters.shape[1]
    return areas, of_clusters @ of_clusters.T * count / max(count - 1, 1)


def auc_with_interval(made: Predictions) -> tuple[float, tuple[float, float] | None]:
    """Measure the AUC with its 95 % interval by DeLong's variance, clipped to 0..1.

    Args:
        made: Predictions of both classes; clusters, where given, widen the interval as they should.

    Returns:
        The area, and the lower and upper end, None when a class has fewer than two rows.
    """
    positives, negatives = np.sort(made.scores[made.labels]), np.sort(made.scores[~made.labels])
    outranked = _twice_outranked(positives, negatives)
    area = float(outranked.sum() / (2 * positives.size * negatives.size))
    if min(positives.size, negatives.size) < 2:
        return area, None
    if made.clusters is None:
        of_positives = (outranked / (2 * negatives.size)).var(ddof=1)
        of_negatives = (_twice_outranked(negatives, positives) / (2 * positives.size)).var(ddof=1)
        variance = of_positives / positives.size + of_negatives / negatives.size
    else:
        variance = auc_covariance(made.labels, [made.scores], made.clusters)[1][0, 0]
    margin = NORMAL_95 * math.sqrt(variance)
    return area, (max(0.0, area - margin), min(1.0, area + margin))


def _twice_outranked(scores: Floats, others: Floats) -> Integers:
    """Count the others below each score, and again those at most as high: twice with half of ties.

    Both are sorted, so that neighbours search where the last one ended and stay in the cache.
    """
    below = np.searchsorted(others, scores, "left")
    not_above = np.searchsorted(others, scores, "right")
    return (below + not_above).astype(np.int64)


def roc_curve(labels: Booleans, scores: Floats, points: int = CURVE_POINTS) -> RocCurve:
    """Draw the ROC curve with no more points than a plot can show.

    Points on a straight line between their neighbours go first; of the rest, at most ``points``
    are kept, evenly spaced along the curve, always with both ends.

    Args:
        labels: ``[rows]`` bool with both classes.
        scores: ``[rows]`` float64.
        points: The most points to keep.

    Returns:
        The curve.
    """
    values, block = tie_blocks(scores)
    positives = np.bincount(block[labels], minlength=values.size)[::-1]
    negatives = np.bincount(block[~labels], minlength=values.size)[::-1]
    true = np.concatenate([[0], np.cumsum(positives)])
    false = np.concatenate([[0], np.cumsum(negatives)])
    bends = positives[:-1] * negatives[1:] != positives[1:] * negatives[:-1]
    kept = np.flatnonzero(np.concatenate([[True], bends, [True]]))
    rise, run = true / max(int(true[-1]), 1), false / max(int(false[-1]), 1)
    if kept.size > points:
        length = (rise + run)[kept]
        wanted = np.searchsorted(length, np.linspace(0.0, length[-1], points - 1))
        kept = kept[np.unique(np.concatenate([[0], wanted, [kept.size - 1]]))]
    at = values[::-1]
    return RocCurve(
        false_positive_rate=tuple(run[kept].tolist()),
        true_positive_rate=tuple(rise[kept].tolist()),
        threshold=tuple(None if place == 0 else float(at[place - 1]) for place in kept.tolist()),
    )
