"""From the documents that steps wrote to the charts of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from learnloop.report.charts import Chart, Line, draw_chart
from learnloop.report.view import Document
from learnloop.report.words import figure, percent

MOST_SLICES, SHOWN_OF_MANY = 30, 12


def learning_charts(training: Document) -> list[Markup]:
    """Draw how loss and validation AUC went from epoch to epoch.

    Args:
        training: ``training.json`` of a model.

    Returns:
        A chart of the losses, and one of the AUC where it was measured.
    """
    curves = training.get("curves", {})
    best = training.get("best_epoch")
    lines = [
        _by_epoch(curves[key], name, style)
        for key, name, style in (
            ("loss", "training", "first"),
            ("validation_loss", "validation", "second"),
        )
        if curves.get(key)
    ]
    charts = [_learning("Log loss by epoch", "log loss", lines, best)] if lines else []
    if curves.get("validation_auc"):
        line = _by_epoch(curves["validation_auc"], "validation", "second")
        charts.append(_learning("AUC by epoch", "AUC", [line], best))
    return charts


def roc_chart(evaluation: Document) -> Markup:
    """Draw the ROC curve, and the champion's beside it where there is one.

    Args:
        evaluation: The Evaluation document.
    """
    curves = evaluation["curves"]
    metrics = evaluation["metrics"][evaluation["judged"]]
    lines = []
    if "champion_roc" in curves:
        auc = evaluation["champion"]["auc"]["champion"] if evaluation["champion"] else None
        lines.append(_roc(curves["champion_roc"], f"champion, AUC {figure(auc)}", "second"))
    lines.append(_roc(curves["roc"], f"this model, AUC {figure(metrics['auc'])}", "first"))
    return draw_chart(
        Chart(
            title="ROC curve",
            x_label="false positive rate",
            y_label="true positive rate",
            lines=lines,
            x_range=(0.0, 1.0),
            y_range=(0.0, 1.0),
            has_diagonal=True,
        )
    )


def calibration_chart(evaluation: Document) -> Markup:
    """Draw observed against predicted rates in bins of equal weight; dots are as large as bins.

    Args:
        evaluation: The Evaluation document.
    """
    curve = evaluation["curves"]["calibration"]["quantile"]
    bins = curve["bins"]
    most = max(part["rows"] for part in bins)
    line = Line(
        name=f"bins of equal weight, ECE {figure(curve['expected_error'])}",
        x=[part["mean_prediction"] for part in bins],
        y=[part["observed_rate"] for part in bins],
        weights=[part["rows"] / most for part in bins],
        told=[
            f"{part['rows']:,} rows: predicted {percent(part['mean_prediction'])},"
            f" observed {percent(part['observed_rate'])}"
            for part in bins
        ],
    )
    return draw_chart(
        Chart(
            title="Calibration curve",
            x_label="predicted probability",
            y_label="observed rate",
            lines=[line],
            x_range=(0.0, 1.0),
            y_range=(0.0, 1.0),
            has_diagonal=True,
        )
    )


def limits_of(values: Sequence[float]) -> tuple[float, float]:
    """Choose the ends of strips so that every interval fits, on multiples of 0.05.

    Args:
        values: All values and ends of intervals, at least one.

    Example:
        >>> limits_of([0.68, 0.84])
        (0.65, 0.85)
    """
    low, high = math.floor(min(values) * 20), math.ceil(max(values) * 20)
    return low / 20, max(high, low + 1) / 20


def weakest(slices: Sequence[Document]) -> list[Document]:
    """Choose the slices of a column to show: all, or where there are very many, the weakest.

    Args:
        slices: The column's slices, as the Evaluation document has them.

    Returns:
        All in their order, or :data:`SHOWN_OF_MANY` by AUC, the lowest first.
    """
    if len(slices) <= MOST_SLICES:
        return list(slices)
    measured = [part for part in slices if part["auc"] is not None]
    return sorted(measured, key=lambda part: float(part["auc"]))[:SHOWN_OF_MANY]


def _by_epoch(values: Sequence[float], name: str, style: str) -> Line:
    return Line(
        name=name,
        x=list(range(1, len(values) + 1)),
        y=values,
        style="first" if style == "first" else "second",
        weights=[0.05] * len(values) if len(values) <= 60 else (),
        told=[f"epoch {epoch}, {name}: {value:.4f}" for epoch, value in enumerate(values, 1)],
    )


def _learning(title: str, y_label: str, lines: list[Line], best: int | None) -> Markup:
    return draw_chart(
        Chart(
            title=title,
            x_label="epoch",
            y_label=y_label,
            lines=lines,
            x_range=(1, max(2, *(len(line.x) for line in lines))),
            x_step=1,
            mark=best,
            mark_label=f"best: epoch {best}",
        )
    )


def _roc(curve: Document, name: str, style: str) -> Line:
    false, true = curve["false_positive_rate"], curve["true_positive_rate"]
    return Line(
        name=name,
        x=false,
        y=true,
        style="first" if style == "first" else "second",
        told=[
            f"threshold {figure(threshold)}: finds {percent(up)}, false alarms {percent(right)}"
            for right, up, threshold in zip(false, true, curve["threshold"], strict=True)
        ],
    )
