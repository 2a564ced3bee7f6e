"""Whether the model serves groups of learners equally well.

ABROCA is the area between the ROC curves of two groups: Gardner, Brooks & Baker (2019),
"Evaluating the fairness of predictive student models through slicing analysis", LAK'19. It cannot
be negative, so groups that are served equally still show an area from chance alone, 0.01 to 0.06 at
usual group sizes; only the *excess* over a permutation null says anything. The null exchanges group
membership among rows of the same label, which leaves every group its size and base rate.

Equalised odds (Hardt, Price & Srebro 2016, NeurIPS) looks at decisions instead: how far the true
and false positive rates of groups lie apart at the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.engines.evaluation import ranking
from components.engines.evaluation.metrics import confusion_at
from components.engines.evaluation.predictions import Booleans, Floats, Integers, Predictions
from components.engines.evaluation.slices import Grouping

PERMUTATIONS = 1_000
NULL_BLOCKS = 250
MINIMUM_PER_CLASS = 10


@dataclass(frozen=True)
class Rates:
    """How one group fares: its ranking quality and its decisions at the threshold."""

    value: str
    rows: int
    base_rate: float
    auc: float
    true_positive_rate: float
    false_positive_rate: float


@dataclass(frozen=True)
class Abroca:
    """The area between the ROC curves of a group and of the reference group.

    Attributes:
        value: The group.
        area: Its ABROCA against the reference.
        null_p95: 95th percentile of the area under the permutation null.
        p_value: Share of permutations with at least this area (with the usual +1).
        excess: ``area - null_p95``; positive means more than chance explains.
    """

    value: str
    area: float
    null_p95: float
    p_value: float
    excess: float


@dataclass(frozen=True)
class Fairness:
    """What a protected column shows.

    Attributes:
        column: The protected column.
        reference: Its largest group, which the others are compared with; empty without groups.
        groups: Groups large enough to judge, in order of value.
        abroca: Each other group against the reference.
        true_positive_rate_gap: Greatest difference of the groups' true positive rates.
        false_positive_rate_gap: Greatest difference of the groups' false positive rates.
        permutations: How many permutations made each null.
        too_small: Groups left out for having too few rows, or too few of a class.
    """

    column: str
    reference: str
    groups: tuple[Rates, ...]
    abroca: tuple[Abroca, ...]
    true_positive_rate_gap: float
    false_positive_rate_gap: float
    permutations: int
    too_small: int


def judge_fairness(
    made: Predictions,
    grouping: Grouping,
    *,
    threshold: float = 0.5,
    minimum_rows: int = 100,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Fairness:
    """Compare the groups of a protected column.

    Args:
        made: Predictions of the rows that were grouped.
        grouping: Which group each row belongs to.
        threshold: Where a prediction becomes a decision.
        minimum_rows: Smaller groups are left out, and so are groups with fewer than ten rows of
            either class, whose ROC curve would be noise.
        permutations: How many permutations make the null of each ABROCA.
        seed: Seed of the permutations.

    Returns:
        Rates of each group, ABROCA against the largest, and the gaps between the extremes.
    """
    judged = _large_enough(made.labels, grouping, minimum_rows)
    rates = tuple(_rates(made, grouping, code, threshold) for code in judged)
    if not judged:
        return Fairness(grouping.column, "", (), (), 0.0, 0.0, permutations, _left_out(grouping, 0))
    reference = max(judged, key=lambda code: int(grouping.rows[code]))
    areas = []
    for code in judged:
        if code == reference:
            continue
        pair = (grouping.code == code) | (grouping.code == reference)
        rows = made.labels[pair], made.scores[pair], grouping.code[pair] == code
        area = abroca(*rows)
        null = abroca_null(*rows, permutations=permutations, seed=seed)
        limit = float(np.quantile(null, 0.95))
        chance = (1 + int(np.count_nonzero(null >= area - 1e-12))) / (1 + null.size)
        areas.append(Abroca(grouping.values[code], area, limit, chance, area - limit))
    return Fairness(
        column=grouping.column,
        reference=grouping.values[reference],
        groups=rates,
        abroca=tuple(areas),
        true_positive_rate_gap=_spread([group.true_positive_rate for group in rates]),
        false_positive_rate_gap=_spread([group.false_positive_rate for group in rates]),
        permutations=permutations,
        too_small=_left_out(grouping, len(judged)),
    )


def abroca(labels: Booleans, scores: Floats, in_group: Booleans) -> float:
    """Integrate the distance between two groups' ROC curves, exactly and with ties.

    Args:
        labels: ``[rows]`` bool; both classes occur inside and outside the group.
        scores: ``[rows]`` float64.
        in_group: ``[rows]`` bool, true for one group, false for the other.

    Returns:
        The area between the curves, 0 to 1.

    Example:
        >>> labels, group = np.array([1, 0, 1, 0], bool), np.array([1, 1, 0, 0], bool)
        >>> abroca(labels, np.array([0.9, 0.1, 0.1, 0.9]), group)
        1.0
    """
    values, block = ranking.tie_blocks(scores)
    positives, negatives = _class_counts(labels, block, values.size)
    inside = _class_counts(labels[in_group], block[in_group], values.size)
    (area,) = _areas(inside[0][None], inside[1][None], positives, negatives)
    return float(area)


def abroca_null(
    labels: Booleans, scores: Floats, in_group: Booleans, *, permutations: int, seed: int
) -> Floats:
    """Draw ABROCA under random exchanges of membership within each class.

    How many rows of each tie block a random exchange puts in the group follows a multivariate
    hypergeometric law, which is drawn directly: the cost of a permutation depends on the number of
    blocks and not of rows. Beyond :data:`NULL_BLOCKS` distinct scores, neighbours are joined into
    blocks of equal weight, which moves an area by less than one part in as many.

    Args:
        labels: ``[rows]`` bool; both classes occur inside and outside the group.
        scores: ``[rows]`` float64.
        in_group: ``[rows]`` bool.
        permutations: How many areas to draw.
        seed: Seed of the draws.

    Returns:
        The areas of the permutations ``[permutations]``.
    """
    values, block = ranking.tie_blocks(scores)
    if values.size > NULL_BLOCKS:
        weight = np.cumsum(np.bincount(block))
        coarse = np.minimum((weight - 1) * NULL_BLOCKS // scores.size, NULL_BLOCKS - 1)
        block = np.unique(coarse, return_inverse=True)[1].astype(np.int64)[block]
    positives, negatives = _class_counts(labels, block, int(block.max()) + 1)
    generator = np.random.default_rng(seed)
    drawn_positives, drawn_negatives = (
        generator.multivariate_hypergeometric(
            counts, int(np.count_nonzero(members)), size=permutations, method="marginals"
        )
        for counts, members in ((positives, in_group[labels]), (negatives, in_group[~labels]))
    )
    return _areas(drawn_positives, drawn_negatives, positives, negatives)


def _class_counts(labels: Booleans, block: Integers, blocks: int) -> tuple[Integers, Integers]:
    """Count positives and negatives in each tie block."""
    positives = np.bincount(block[labels], minlength=blocks).astype(np.int64)
    return positives, np.bincount(block, minlength=blocks).astype(np.int64) - positives


def _areas(
    inside_positives: Integers, inside_negatives: Integers, positives: Integers, negatives: Integers
) -> Floats:
    """Measure the area between group and rest for each way to draw the group.

    Args:
        inside_positives: ``[draws, blocks]``, positives of the group in each tie block.
        inside_negatives: ``[draws, blocks]``, its negatives.
        positives: ``[blocks]``, those of group and rest together.
        negatives: ``[blocks]``, those of group and rest together.

    Returns:
        ``[draws]`` areas.
    """
    walks = [
        _walk(counts)
        for counts in (
            inside_negatives,
            inside_positives,
            negatives - inside_negatives,
            positives - inside_positives,
        )
    ]
    return np.array([_area_between(*curves) for curves in zip(*walks, strict=True)])


def _walk(counts: Integers) -> Floats:
    """Walk from the lowest score up: a mirrored ROC axis, which keeps areas."""
    walked = np.zeros((counts.shape[0], counts.shape[1] + 1))
    np.cumsum(counts, axis=1, out=walked[:, 1:])
    walked /= walked[:, -1:]
    return walked


def _area_between(run: Floats, rise: Floats, other_run: Floats, other_rise: Floats) -> float:
    """Integrate the distance of two curves of straight pieces.

    Between neighbouring bends of either curve both are straight, so two inner points tell all there
    is of a piece.
    """
    bends = np.sort(np.concatenate([run, other_run]))
    width = bends[1:] - bends[:-1]
    inner = np.concatenate([bends[:-1] + 0.25 * width, bends[:-1] + 0.75 * width])
    apart = np.interp(inner, run, rise) - np.interp(inner, other_run, other_rise)
    near, far = apart[: width.size], apart[width.size :]
    left, right = 1.5 * near - 0.5 * far, 1.5 * far - 0.5 * near
    total = np.abs(left) + np.abs(right)
    crossed = left * right < 0.0
    mean = np.divide(left**2 + right**2, 2.0 * total, out=total / 2.0, where=crossed)
    return float(mean @ width)


def _large_enough(labels: Booleans, grouping: Grouping, minimum_rows: int) -> list[int]:
    positives = np.bincount(grouping.code[labels], minlength=len(grouping.values))
    fewest = np.minimum(positives, grouping.rows - positives)
    enough = (grouping.rows >= minimum_rows) & (fewest >= MINIMUM_PER_CLASS)
    return [code for code, is_enough in enumerate(enough) if is_enough]


def _rates(made: Predictions, grouping: Grouping, code: int, threshold: float) -> Rates:
    chosen = made.only(grouping.code == code)
    decisions = confusion_at(chosen.labels, chosen.scores, threshold)
    return Rates(
        value=grouping.values[code],
        rows=chosen.rows,
        base_rate=float(chosen.labels.mean()),
        auc=ranking.auc(chosen.labels, chosen.scores),
        true_positive_rate=decisions.true_positive_rate or 0.0,
        false_positive_rate=decisions.false_positive_rate or 0.0,
    )


def _spread(rates: list[float]) -> float:
    return max(rates) - min(rates)


def _left_out(grouping: Grouping, judged: int) -> int:
    return int(np.count_nonzero(grouping.rows)) - judged
