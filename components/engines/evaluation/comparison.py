"""Champion against challenger on the same rows.

The rows are resampled together for both models (a paired bootstrap, Efron & Tibshirani 1993), so
what both find hard cancels out and small differences show. A resample is a weight for each row, so
nothing is sorted again: scores are ranked once and each resample is a few sums over tie blocks.
Above :data:`BOOTSTRAP_ROWS` rows the estimates are so nearly normal that DeLong's paired covariance
gives the same interval of the AUC without resampling, and the mean of paired differences that of
the log loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from components.engines.evaluation import ranking
from components.engines.evaluation.metrics import log_losses
from components.engines.evaluation.predictions import Booleans, Floats, Integers, Predictions
from learnloop.errors import UsageError

RESAMPLES = 1_000
BOOTSTRAP_ROWS = 50_000


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion in one figure.

    Attributes:
        challenger: The challenger's figure on these rows.
        champion: The champion's figure on the same rows.
        difference: Challenger minus champion.
        interval: Its 95 % interval.
        probability_better: How probable it is that the challenger is better, ties counting half.
    """

    challenger: float
    champion: float
    difference: float
    interval: tuple[float, float]
    probability_better: float


@dataclass(frozen=True)
class Comparison:
    """Champion against challenger on the same rows.

    Attributes:
        rows: How many rows both predicted.
        method: ``paired bootstrap`` or ``paired normal approximation``.
        resamples: How many resamples were used; 0 for the normal approximation.
        auc: The difference in AUC; positive is better.
        log_loss: The difference in log loss; negative is better.
    """

    rows: int
    method: str
    resamples: int
    auc: Difference
    log_loss: Difference


def compare(
    challenger: Predictions,
    champion_scores: Floats,
    *,
    resamples: int = RESAMPLES,
    bootstrap_rows: int = BOOTSTRAP_ROWS,
    seed: int = 0,
) -> Comparison:
    """Compare two models' predictions of the same rows.

    Args:
        challenger: The challenger's predictions, with the labels. Where it has clusters, whole
            clusters are resampled, never single rows of one.
        champion_scores: ``[rows]`` float64 in 0..1, the champion's predictions of those rows.
        resamples: How many bootstrap resamples to draw.
        bootstrap_rows: Above this many rows the normal approximation is used.
        seed: Seed of the resamples.

    Returns:
        The differences with their intervals.

    Raises:
        UsageError: If the labels hold fewer than two rows of a class: then no AUC can be compared.
    """
    labels = challenger.labels
    positives = int(np.count_nonzero(labels))
    if min(positives, challenger.rows - positives) < 2:
        raise UsageError(
            "The models cannot be compared: the rows hold too few of one class.",
            expected="at least 2 positive and 2 negative rows",
            received=f"{positives:,} positive and {challenger.rows - positives:,} negative rows",
        )
    losses = log_losses(labels, challenger.scores), log_losses(labels, champion_scores)
    estimate = _normal if challenger.rows > bootstrap_rows else _bootstrap
    auc_interval, auc_better, loss_interval, loss_worse = estimate(
        challenger, champion_scores, losses[0] - losses[1], resamples, seed
    )
    by_bootstrap = estimate is _bootstrap
    return Comparison(
        rows=challenger.rows,
        method="paired bootstrap" if by_bootstrap else "paired normal approximation",
        resamples=resamples if by_bootstrap else 0,
        auc=_difference(
            ranking.auc(labels, challenger.scores),
            ranking.auc(labels, champion_scores),
            auc_interval,
            auc_better,
        ),
        log_loss=_difference(
            float(losses[0].mean()), float(losses[1].mean()), loss_interval, 1.0 - loss_worse
        ),
    )


_Estimate = tuple[tuple[float, float], float, tuple[float, float], float]


def _bootstrap(
    challenger: Predictions, champion: Floats, loss_difference: Floats, resamples: int, seed: int
) -> _Estimate:
    ranked = _Ranked(challenger.labels, challenger.scores), _Ranked(challenger.labels, champion)
    clusters = challenger.clusters
    units = challenger.rows if clusters is None else int(clusters.max()) + 1
    generator = np.random.default_rng(seed)
    areas, losses = np.empty(resamples), np.empty(resamples)
    for draw in range(resamples):
        drawn = np.bincount(generator.integers(units, size=units), minlength=units)
        weight = (drawn if clusters is None else drawn[clusters]).astype(np.float64)
        areas[draw] = ranked[0].auc(weight) - ranked[1].auc(weight)
        losses[draw] = loss_difference @ weight / weight.sum()
    usable = areas[np.isfinite(areas)]  # a resample of one class has no AUC
    return (
        _interval(usable),
        _share_above_zero(usable),
        _interval(losses),
        _share_above_zero(losses),
    )


def _normal(
    challenger: Predictions, champion: Floats, loss_difference: Floats, resamples: int, seed: int
) -> _Estimate:
    areas, covariance = ranking.auc_covariance(
        challenger.labels, [challenger.scores, champion], challenger.clusters
    )
    contrast = np.array([1.0, -1.0])
    area_error = math.sqrt(max(float(contrast @ covariance @ contrast), 0.0))
    mean = float(loss_difference.mean())
    centred = loss_difference - mean
    sums = (
        centred
        if challenger.clusters is None
        else np.bincount(challenger.clusters, weights=centred)
    )
    loss_error = math.sqrt(float(sums @ sums) * sums.size / max(sums.size - 1, 1))
    area = float(contrast @ areas)
    return (
        *_normal_interval(area, area_error),
        *_normal_interval(mean, loss_error / loss_difference.size),
    )


class _Ranked:
    """One model's scores, sorted once, so that a weighted AUC costs a few sums."""

    def __init__(self, labels: Booleans, scores: Floats) -> None:
        self._order: Integers = np.argsort(scores, kind="stable")
        self._positive = labels[self._order].astype(np.float64)
        ordered = scores[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))

    def auc(self, weight: Floats) -> float:
        ordered = weight[self._order]
        rows = np.add.reduceat(ordered, self._starts)
        positives = np.add.reduceat(ordered * self._positive, self._starts)
        return ranking.auc_of_counts(positives, rows - positives)


def _difference(
    challenger: float, champion: float, interval: tuple[float, float], better: float
) -> Difference:
    return Difference(challenger, champion, challenger - champion, interval, better)


def _interval(values: Floats) -> tuple[float, float]:
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def _share_above_zero(values: Floats) -> float:
    above = np.count_nonzero(values > 0.0) + 0.5 * np.count_nonzero(values == 0.0)
    return float(above / values.size)


def _normal_interval(mean: float, error: float) -> tuple[tuple[float, float], float]:
    margin = ranking.NORMAL_95 * error
    above = 0.5 if error == 0.0 and mean == 0.0 else _normal_above_zero(mean, error)
    return (mean - margin, mean + margin), above


def _normal_above_zero(mean: float, error: float) -> float:
    if error == 0.0:
        return float(mean > 0.0)
    return 0.5 * (1.0 + math.erf(mean / error / math.sqrt(2.0)))
