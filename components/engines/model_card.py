"""The model card: what a model is, what it was measured at, and where it comes from, in Markdown.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIGURES = ("rows", "base_rate", "auc", "log_loss", "brier", "ece")


def write_model_card(
    name: str,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    lineage: Mapping[str, str],
) -> str:
    """Write a card.

    Args:
        name: The registered model.
        training: The model's ``training.json``.
        evaluation: The evaluation's document.
        lineage: Facts on the run and the inputs, by name.

    Returns:
        Markdown.
    """
    inputs = ", ".join(f"`{column['name']}`" for column in training["signature"]["inputs"])
    sections = [
        f"# {name}",
        f"Gives `probability` from {inputs}.",
        "## Measured",
        _table(("split", *FIGURES), _figure_rows(evaluation["metrics"])),
        "## Trained with",
        _table(("parameter", "value"), training["parameters"].items()),
        "## Where it comes from",
        _table(("fact", "value"), lineage.items()),
    ]
    return "\n\n".join(sections) + "\n"


def _figure_rows(metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (split, *(values.get(figure) for figure in FIGURES)) for split, values in metrics.items()
    ]


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_text(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
