"""What a model answered on a split, beside what was true and which row each answer belongs to.

A label that is a list asks at every step of a row; a label below zero asks nothing. What is left
are the answers judged, laid end to end; any other raw column can be laid out beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.engines.evaluation.predictions import (
    Booleans,
    Floats,
    Integers,
    Predictions,
    fault_of,
)
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's answers on a split.

    Attributes:
        labels: ``[answers]`` float64, the truth as the raw column has it.
        scores: ``[answers]`` float64, as the model gave them, unchecked.
        row: ``[answers]`` int64, the row of the split each answer belongs to.
        asked: ``[rows]``, or ``[steps]`` of all rows: true where an answer was judged.
        is_per_step: Whether every step of a row was asked.
    """

    labels: Floats
    scores: Floats
    row: Integers
    asked: Booleans
    is_per_step: bool

    @property
    def fault(self) -> str:
        """What keeps the answers from being probabilities, or nothing."""
        return fault_of(self.scores)

    def predictions(self, split: str, learners: pa.ChunkedArray | None = None) -> Predictions:
        """Check them and put them side by side.

        What one learner answers is no independent evidence, so answers of one learner are one
        cluster; where nobody says who answered, the steps of one row are.

        Args:
            split: What the rows are called in an error.
            learners: ``[rows]``, whose row each is.

        Raises:
            UsageError: If a label is not 0 or 1, or an answer is no probability.
        """
        clusters = self.row if self.is_per_step else None
        if learners is not None:
            clusters = _codes(learners)[self.row]
        return Predictions.of(self.labels, self.scores, clusters, split=split)

    def beside(self, table: pa.Table) -> pa.Table:
        """Lay raw columns of the split out beside the answers.

        Args:
            table: The split's rows; a list column has one value for each step.

        Returns:
            One row for each answer.

        Raises:
            UsageError: If a list column has not as many steps as the label.
        """
        import pyarrow as pa

        columns = {name: self._beside(table.column(name), name) for name in table.column_names}
        return pa.table(columns)

    def _beside(self, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
        import pyarrow as pa
        from pyarrow import compute

        if not is_list(column.type):
            return column.take(pa.array(self.row))
        flat = compute.list_flatten(column)
        if len(flat) != self.asked.size:
            raise UsageError(
                f"Column '{name}' has not one value for each step.",
                expected=f"{self.asked.size:,} values, one for each step of the label",
                received=f"{len(flat):,} values",
            )
        return flat.filter(pa.array(self.asked))


def ask(
    model: Callable[[pa.RecordBatch], Floats], batches: Iterable[pa.RecordBatch], label: str
) -> Answers:
    """Ask a model every row whose label is known.

    Args:
        model: Answers raw rows: ``[rows]``, or every step of every row, end to end.
        batches: The split's raw rows: the model's columns and the label.
        label: The raw column with the truth.

    Returns:
        The answers in order of the rows.

    Raises:
        UsageError: If a label is missing, or the model does not answer once for each.
    """
    labels, scores, rows = [np.empty(0)], [np.empty(0)], [np.empty(0, np.int64)]
    asked = [np.empty(0, np.bool_)]
    first_row, per_step = 0, False
    for batch in batches:
        truth = batch.column(batch.schema.get_field_index(label))
        per_step = is_list(truth.type)
        row = np.arange(batch.num_rows)
        if per_step:
            row = np.repeat(row, np.diff(np.asarray(truth.offsets, dtype=np.int64)))
            truth = truth.flatten()
        values = _known(truth, label)
        answered = model(batch)
        if answered.size != values.size:
            raise UsageError(
                "The model does not answer once for each label.",
                where=f"label '{label}'",
                expected=f"{values.size:,} answers",
                received=f"{answered.size:,} answers",
            )
        known = values >= 0.0
        labels.append(values[known])
        scores.append(answered[known])
        rows.append(row[known] + first_row)
        asked.append(known)
        first_row += batch.num_rows
    return Answers(
        np.concatenate(labels),
        np.concatenate(scores),
        np.concatenate(rows),
        np.concatenate(asked),
        per_step,
    )


def _codes(column: pa.ChunkedArray) -> Integers:
    """Number the distinct values of a column, in the order of their first rows."""
    import pyarrow as pa

    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    codes: Integers = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a column holds a list in each row."""
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _known(truth: pa.Array, label: str) -> Floats:
    import pyarrow as pa
    from pyarrow import compute

    if truth.null_count:
        raise UsageError(
            f"The label '{label}' is missing in some rows.",
            expected="0 or 1, or a value below 0 where the truth is not known",
            received=f"{truth.null_count:,} nulls",
        )
    values: Floats = compute.cast(truth, pa.float64()).to_numpy(zero_copy_only=False)
    return values
