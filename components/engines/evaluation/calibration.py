"""Whether a predicted probability means what it says.

Two ways to bin, named wherever they appear: ``width`` (bins of equal width, the usual ECE) and
``quantile`` (bins of equal weight, which stay informative when predictions crowd together).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from components.engines.evaluation.predictions import Booleans, Floats

BINS = 10

Binning = Literal["width", "quantile"]


@dataclass(frozen=True)
class Bin:
    """Rows whose predictions are close: what was predicted for them, and what happened."""

    rows: int
    mean_prediction: float
    observed_rate: float


@dataclass(frozen=True)
class CalibrationCurve:
    """Predicted against observed rates, bin by bin, in ascending order of prediction.

    Attributes:
        binning: ``width`` or ``quantile``.
        bins: The bins that hold at least one row.
        expected_error: The expected calibration error: the mean distance of predicted from
            observed rate, weighted by rows. Naeini, Cooper & Hauskrecht (2015), "Obtaining well
            calibrated probabilities using Bayesian binning", AAAI.
        greatest_error: The greatest such distance (their MCE).
    """

    binning: Binning
    bins: tuple[Bin, ...]
    expected_error: float
    greatest_error: float


def calibration_curve(
    labels: Booleans, scores: Floats, binning: Binning = "width", bins: int = BINS
) -> CalibrationCurve:
    """Compare predicted with observed rates in bins of the prediction.

    Equal predictions always share a bin, so the curve does not depend on the order of rows; with
    many ties, ``quantile`` therefore gives fewer bins than asked for.

    Args:
        labels: ``[rows]`` bool, at least one row.
        scores: ``[rows]`` float64 in 0..1.
        binning: ``width`` for bins of equal width, ``quantile`` for bins of equal weight.
        bins: How many bins to cut.

    Returns:
        The curve with its errors.

    Example:
        >>> curve = calibration_curve(np.array([True, False]), np.array([0.95, 0.95]))
        >>> round(curve.expected_error, 3)
        0.45
    """
    steps = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    edges = steps if binning == "width" else np.unique(np.quantile(scores, steps))
    place = np.digitize(scores, edges)
    rows = np.bincount(place, minlength=edges.size + 1)
    filled = rows > 0
    predicted = np.bincount(place, weights=scores, minlength=rows.size)[filled] / rows[filled]
    observed = np.bincount(place, weights=labels, minlength=rows.size)[filled] / rows[filled]
    distance = np.abs(predicted - observed)
    return CalibrationCurve(
        binning=binning,
        bins=tuple(map(Bin, rows[filled].tolist(), predicted.tolist(), observed.tolist())),
        expected_error=float(distance @ rows[filled] / scores.size),
        greatest_error=float(distance.max()),
    )
