"""How good a model is: pure functions from labels and predictions to figures and a verdict.

``predictions`` checks, ``ranking`` and ``calibration`` and ``metrics`` measure, ``slices`` and
``fairness`` look at parts, ``comparison`` holds two models side by side, ``verdict`` decides, and
``assessment`` is all of it together. ``answers`` lays what a model answered beside the truth. No
artifact, no model and no TensorFlow here.
"""

from components.engines.evaluation.assessment import Assessment, Beside, Scope, assess
from components.engines.evaluation.calibration import CalibrationCurve, calibration_curve
from components.engines.evaluation.comparison import Comparison, compare
from components.engines.evaluation.fairness import Fairness, abroca, judge_fairness
from components.engines.evaluation.metrics import Confusion, Metrics, confusion_at, measure
from components.engines.evaluation.predictions import Predictions, fault_of
from components.engines.evaluation.ranking import RocCurve, auc, auc_with_interval, roc_curve
from components.engines.evaluation.slices import (
    CROSS,
    Grouping,
    Slice,
    Withheld,
    group,
    measure_slices,
)
from components.engines.evaluation.verdict import Bars, Verdict, judge

__all__ = [
    "CROSS",
    "Assessment",
    "Bars",
    "Beside",
    "CalibrationCurve",
    "Comparison",
    "Confusion",
    "Fairness",
    "Grouping",
    "Metrics",
    "Predictions",
    "RocCurve",
    "Scope",
    "Slice",
    "Verdict",
    "Withheld",
    "abroca",
    "assess",
    "auc",
    "auc_with_interval",
    "calibration_curve",
    "compare",
    "confusion_at",
    "fault_of",
    "group",
    "judge",
    "judge_fairness",
    "measure",
    "measure_slices",
    "roc_curve",
]
