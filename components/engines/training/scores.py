"""How good predictions are, exactly and quickly: log loss and area under the ROC curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST = 1e-7
"""Probabilities are kept this far from 0 and 1 before a logarithm is taken (as Keras does)."""


def log_loss(labels: NDArray[np.generic], probabilities: NDArray[np.generic]) -> float:
    """Return the mean negative log likelihood of 0/1 labels.

    Example:
        >>> round(log_loss(np.array([1, 0]), np.array([0.8, 0.4])), 4)
        0.367
    """
    sure = np.clip(probabilities.astype(np.float64), SMALLEST, 1 - SMALLEST)
    return float(-np.mean(np.log(np.where(labels > 0.5, sure, 1 - sure))))


def area_under_curve(labels: NDArray[np.generic], probabilities: NDArray[np.generic]) -> float:
    """Return the chance that a positive scores above a negative, ties counting half.

    This is the Mann-Whitney statistic, hence exact: no thresholds are chosen. Where one class is
    absent there is no such chance, and the answer is NaN.

    Example:
        >>> area_under_curve(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
        0.875
    """
    order = np.argsort(probabilities, kind="stable")
    ranked, positive = probabilities[order], labels[order] > 0.5
    positives = int(np.count_nonzero(positive))
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    ends = np.append(starts[1:], len(ranked))
    in_tie = np.add.reduceat(positive, starts, dtype=np.int64)
    rank_sum = float(np.sum(in_tie * (starts + 1 + ends) / 2))
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
