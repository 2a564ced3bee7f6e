"""What the figures mean for the model: blessed or not, and why, in sentences with numbers.

Every rule is here and only here, so a reader can see at a glance what a model must reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from components.engines.evaluation.comparison import Comparison
from components.engines.evaluation.fairness import Fairness
from components.engines.evaluation.metrics import Metrics
from components.engines.evaluation.slices import Slice


@dataclass(frozen=True)
class Bars:
    """What a model must reach.

    Attributes:
        min_auc: The least AUC on the judged split.
        min_slice_auc: The least AUC of any slice shown; 0 asks nothing of slices.
        max_ece: The greatest expected calibration error (ten bins of equal width).
        max_abroca_excess: How far an ABROCA may exceed the 95th percentile of its null.
        max_odds_gap: How far groups' true or false positive rates may lie apart.
        on_unfair: Whether an unfairness refuses the model or warns.
        champion_tolerance: How much lower than the champion's the AUC may be on the same rows.
    """

    min_auc: float = 0.70
    min_slice_auc: float = 0.0
    max_ece: float = 0.10
    max_abroca_excess: float = 0.05
    max_odds_gap: float = 0.20
    on_unfair: Literal["warn", "refuse"] = "warn"
    champion_tolerance: float = 0.005


@dataclass(frozen=True)
class Verdict:
    """Whether the model may go on, and what speaks against it.

    Attributes:
        blessed: True when no reason speaks against it.
        reasons: Why it is refused, one sentence each.
        warnings: What a person should look at although it does not refuse the model.
    """

    blessed: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(
    split: str,
    metrics: Metrics,
    slices: Sequence[Slice],
    fairness: Sequence[Fairness],
    comparison: Comparison | None,
    bars: Bars,
) -> Verdict:
    """Hold the figures against the bars.

    Args:
        split: The split judged, for the sentences.
        metrics: Its figures.
        slices: The figures of its slices.
        fairness: What each protected column shows.
        comparison: The champion on the same rows, None when there is none.
        bars: What must be reached.

    Returns:
        The verdict.
    """
    reasons = [*_quality(split, metrics, bars), *_weak_slices(slices, bars)]
    if comparison is not None:
        reasons += _worse_than_champion(comparison, bars)
    unfair = [sentence for column in fairness for sentence in _unfair(column, bars)]
    if bars.on_unfair == "refuse":
        reasons += unfair
    warnings = unfair if bars.on_unfair == "warn" else []
    return Verdict(not reasons, tuple(reasons), tuple(warnings))


def _quality(split: str, metrics: Metrics, bars: Bars) -> list[str]:
    reasons = []
    if metrics.auc is None:
        reasons.append(
            f"The AUC on {split} cannot be measured: {metrics.auc_reason};"
            f" at least {bars.min_auc:.3f} is required."
        )
    elif metrics.auc < bars.min_auc:
        reasons.append(
            f"The AUC on {split} is {metrics.auc:.3f}{_between(metrics.auc_interval)};"
            f" at least {bars.min_auc:.3f} is required."
        )
    if metrics.ece is not None and metrics.ece > bars.max_ece:
        reasons.append(
            f"The calibration error (ECE) on {split} is {metrics.ece:.3f};"
            f" at most {bars.max_ece:.3f} is allowed."
        )
    return reasons


def _weak_slices(slices: Sequence[Slice], bars: Bars) -> list[str]:
    return [
        f"The AUC where {part.column} is {part.value} is"
        f" {part.metrics.auc:.3f}{_between(part.metrics.auc_interval)} on"
        f" {part.metrics.rows:,} rows; at least {bars.min_slice_auc:.3f} is required of a slice."
        for part in slices
        if part.metrics.auc is not None and part.metrics.auc < bars.min_slice_auc
    ]


def _worse_than_champion(comparison: Comparison, bars: Bars) -> list[str]:
    auc = comparison.auc
    if auc.difference >= -bars.champion_tolerance:
        return []
    sentence = (
        f"The AUC is {-auc.difference:.4f} below the champion's on the same"
        f" {comparison.rows:,} rows ({auc.challenger:.4f} against {auc.champion:.4f}, 95 % interval"
        f" of the difference {auc.interval[0]:+.4f} to {auc.interval[1]:+.4f});"
        f" at most {bars.champion_tolerance:.4f} below is allowed."
    )
    return [sentence]


def _unfair(column: Fairness, bars: Bars) -> list[str]:
    sentences = [
        f"The ROC curves of {column.column} {group.value} and {column.reference} lie"
        f" {group.area:.3f} apart (ABROCA), {group.excess:.3f} more than chance explains"
        f" (95th percentile of the null {group.null_p95:.3f});"
        f" at most {bars.max_abroca_excess:.3f} more is allowed."
        for group in column.abroca
        if group.excess > bars.max_abroca_excess
    ]
    gaps = {
        "true": column.true_positive_rate_gap,
        "false": column.false_positive_rate_gap,
    }
    return sentences + [
        f"The {kind} positive rates of the groups of {column.column} lie {gap:.3f} apart"
        f" at the threshold; at most {bars.max_odds_gap:.3f} is allowed."
        for kind, gap in gaps.items()
        if gap > bars.max_odds_gap
    ]


def _between(interval: tuple[float, float] | None) -> str:
    return f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
