"""An exported model asked in bulk, by plain TensorFlow, from Arrow columns of raw features.

It is called through its signatures, exactly as a server calls it, so that no figure can rest on
what only training knew. What pads a raw column is read from `training.json` beside the SavedModel.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.engines.training.batches import batches_by_length
from components.engines.training.features import is_list
from components.engines.training.signature import NOTHING_ASKED, RawColumn
from components.engines.transform.columns import require_columns, to_tensors

if TYPE_CHECKING:
    import pyarrow as pa
    import tensorflow as tf
    from numpy.typing import NDArray


class ServedModel:
    """An exported model: call it with raw rows, get probabilities.

    Args:
        folder: A Model's folder, with `saved_model/` and `training.json`.

    Example:
        ::

            model = ServedModel(artifact.path)
            probabilities = model(examples.table("test"))

    Attributes:
        columns: The raw columns that it reads.
        is_per_step: Whether it answers at every step of a sequence.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        document = json.loads((folder / "training.json").read_text())
        self.columns = tuple(
            RawColumn.from_json(column) for column in document["signature"]["inputs"]
        )
        self._model = tf.saved_model.load(str(folder / "saved_model"))
        self.is_per_step = "every_step" in self._model.signatures
        name = "every_step" if self.is_per_step else "serving_default"
        self._function = self._model.signatures[name]

    def __call__(self, rows: pa.Table | pa.RecordBatch) -> NDArray[np.float64]:
        """Predict raw rows.

        Args:
            rows: The columns of `columns`, and any others.

        Returns:
            `[rows]` probabilities; where the model answers at every step, those of all rows end to
            end.

        Raises:
            UsageError: If a column is missing or does not fit its raw schema.
        """
        import pyarrow as pa

        names = [column.name for column in self.columns]
        require_columns(rows.schema.names, names, "the rows to predict")
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
        table = table.select(names).combine_chunks()
        parts = []
        for chosen in batches_by_length(self._lengths(table)):
            answer = self._call(table.take(chosen))
            is_asked = answer != NOTHING_ASKED
            parts.append((chosen, is_asked.sum(axis=1), answer[is_asked]))
        return _in_row_order(parts, table.num_rows)

    def _lengths(self, table: pa.Table) -> NDArray[np.int64]:
        from pyarrow import compute

        longest = np.ones(table.num_rows, np.int64)
        for column in self.columns if self.is_per_step else ():
            if is_list(table.schema.field(column.name).type):
                lengths = compute.fill_null(compute.list_value_length(table[column.name]), 0)
                np.maximum(longest, lengths.to_numpy(), out=longest)
        return longest

    def _call(self, table: pa.Table) -> NDArray[np.float64]:
        """Answer one batch: `[rows, 1]` or `[rows, time]`."""
        tensors = raw_tensors(table, self.columns)
        answer = self._function(**tensors)["probability"].numpy().astype(np.float64)
        return answer if self.is_per_step else answer[:, None]


def raw_tensors(table: pa.Table, columns: Sequence[RawColumn]) -> dict[str, tf.Tensor]:
    """Turn rows into the tensors that a caller of the served signature sends, padded as it says.

    Args:
        table: At least one row, with the raw columns.
        columns: The signature's inputs.

    Returns:
        A dense tensor by column: `[rows, *shape]`.
    """
    import tensorflow as tf

    specs = {column.name: column.parsing_spec() for column in columns}
    batch = table.combine_chunks().to_batches()[0]
    tensors = dict(to_tensors(batch, specs, specs))
    for column in columns:
        if column.padding is not None:
            padding = tf.constant(column.padding_value, column.dtype)
            tensors[column.name] = tf.sparse.to_dense(tensors[column.name], padding)
    return tensors


def _in_row_order(
    parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]], rows: int
) -> NDArray[np.float64]:
    """Lay the answers of batches (rows, answers of each, answers end to end) out by row."""
    counts = np.zeros(rows + 1, np.int64)
    for chosen, count, _ in parts:
        counts[chosen + 1] = count
    starts = np.cumsum(counts)
    answers = np.empty(starts[-1])
    for chosen, count, values in parts:
        first = np.repeat(starts[chosen] - (np.cumsum(count) - count), count)
        answers[first + np.arange(len(values))] = values
    return answers
