"""Draft a schema from statistics, for an author to curate or for a pipeline without one."""

from __future__ import annotations

from components.engines.validation import schema as schemas
from learnloop.artifacts import Schema, Statistics
from learnloop.component import Input, Output, component


@component
def infer_schema(
    statistics: Input[Statistics],
    schema: Output[Schema],
    *,
    split: str = "train",
    label: str = "",
    most_categories: int = 100,
) -> None:
    """Write down what the data looks like, as a schema that later data is held to.

    Args:
        statistics: TFDV statistics by split.
        schema: The draft.
        split: The split to draft from.
        label: The column with the truth; it is not expected when the model is asked.
        most_categories: A text column with more distinct values gets no list of them.

    Raises:
        UsageError: There is no such split or label.
    """
    schema.write(schemas.infer_schema(statistics.load(split), label, most_categories))
