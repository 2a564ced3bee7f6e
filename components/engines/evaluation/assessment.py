"""The whole assessment of a model: every figure that is kept, and the verdict they lead to.

This is the shape of the Evaluation document; the run report, the command line and the registry read
it by these names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from components.engines.evaluation.calibration import calibration_curve
from components.engines.evaluation.comparison import RESAMPLES, Comparison, compare
from components.engines.evaluation.fairness import PERMUTATIONS, judge_fairness
from components.engines.evaluation.metrics import measure
from components.engines.evaluation.predictions import Booleans, Floats, Predictions
from components.engines.evaluation.ranking import roc_curve
from components.engines.evaluation.slices import Grouping, Slice, Withheld, measure_slices
from components.engines.evaluation.verdict import Bars, Verdict, judge


@dataclass(frozen=True)
class Scope:
    """What is looked at, and how closely.

    Attributes:
        judged: The split that decides, and that curves, slices and fairness are of.
        threshold: A prediction of at least this is a decision for the event.
        minimum_rows: Slices and groups with fewer rows are not shown.
        permutations: Permutations for the null of each ABROCA, at least 1.
        resamples: Resamples of the paired bootstrap, at least 1.
        seed: Seed of permutations and resamples.
    """

    judged: str = "test"
    threshold: float = 0.5
    minimum_rows: int = 100
    permutations: int = PERMUTATIONS
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Beside:
    """What is known of the judged rows beside label and prediction; nothing need be.

    Attributes:
        slices: Columns to show figures by.
        protected: Columns of groups that must be served equally.
        champion: ``[rows]``, the champion's predictions of the same rows.
        without: A column's name and where it is true: a second figure leaves those rows out.
        notes: Sentences for a person, kept among the verdict's warnings.
    """

    slices: Sequence[Grouping] = ()
    protected: Sequence[Grouping] = ()
    champion: Floats | None = None
    without: tuple[str, Booleans] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assessment:
    """A model's figures and the verdict they lead to.

    Attributes:
        document: The Evaluation document, JSON-able.
        verdict: Blessed or not, and why.
    """

    document: Mapping[str, Any] = field(repr=False)
    verdict: Verdict


def assess(
    splits: Mapping[str, Predictions],
    *,
    bars: Bars,
    scope: Scope = Scope(),
    beside: Beside = Beside(),
) -> Assessment:
    """Measure a model on every split and judge it on one.

    Args:
        splits: Predictions by split; ``scope.judged`` is among them.
        bars: What must be reached.
        scope: What is looked at.
        beside: What else is known of the judged rows.

    Returns:
        The figures and the verdict.
    """
    made = splits[scope.judged]
    metrics = {name: measure(split, scope.threshold) for name, split in splits.items()}
    slices, withheld = _slices(made, beside.slices, scope)
    fairness = [
        judge_fairness(
            made,
            grouping,
            threshold=scope.threshold,
            minimum_rows=scope.minimum_rows,
            permutations=scope.permutations,
            seed=scope.seed,
        )
        for grouping in beside.protected
    ]
    comparison = _comparison(made, beside.champion, scope)
    verdict = judge(scope.judged, metrics[scope.judged], slices, fairness, comparison, bars)
    verdict = replace(verdict, warnings=(*verdict.warnings, *beside.notes))
    document = {
        "judged": scope.judged,
        "threshold": scope.threshold,
        "bars": asdict(bars),
        "metrics": {name: asdict(figures) for name, figures in metrics.items()},
        "without": _without(made, beside.without, scope),
        "curves": _curves(made, beside.champion),
        "slices": [
            {"column": part.column, "value": part.value, **asdict(part.metrics)} for part in slices
        ],
        "withheld": [asdict(part) for part in withheld],
        "fairness": [asdict(column) for column in fairness],
        "champion": asdict(comparison) if comparison else None,
    }
    return Assessment(document, verdict)


def _slices(
    made: Predictions, groupings: Sequence[Grouping], scope: Scope
) -> tuple[list[Slice], list[Withheld]]:
    slices: list[Slice] = []
    withheld: list[Withheld] = []
    for grouping in groupings:
        shown, hidden = measure_slices(made, grouping, scope.minimum_rows, scope.threshold)
        slices += shown
        withheld += [hidden] if hidden else []
    return slices, withheld


def _comparison(made: Predictions, champion: Floats | None, scope: Scope) -> Comparison | None:
    if champion is None or min(_class_sizes(made)) < 2:
        return None
    return compare(made, champion, resamples=scope.resamples, seed=scope.seed)


def _curves(made: Predictions, champion: Floats | None) -> dict[str, Any]:
    if min(_class_sizes(made)) == 0:
        return {}
    curves: dict[str, Any] = {
        "roc": asdict(roc_curve(made.labels, made.scores)),
        "calibration": {
            binning: asdict(calibration_curve(made.labels, made.scores, binning))
            for binning in ("width", "quantile")
        },
    }
    if champion is not None:
        curves["champion_roc"] = asdict(roc_curve(made.labels, champion))
    return curves


def _without(
    made: Predictions, without: tuple[str, Booleans] | None, scope: Scope
) -> dict[str, Any] | None:
    if without is None:
        return None
    column, is_left_out = without
    return {
        "column": column,
        "rows_left_out": int(np.count_nonzero(is_left_out)),
        **asdict(measure(made.only(~is_left_out), scope.threshold)),
    }


def _class_sizes(made: Predictions) -> tuple[int, int]:
    positives = int(np.count_nonzero(made.labels))
    return positives, made.rows - positives
