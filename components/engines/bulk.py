"""A model's answers for many rows, batch by batch: columns in, columns out.

The model is called through the signature that callers use, so that a row's score is the one that
the server gives. Rows of like length share a call, and next to no padding is computed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.engines.training.batches import batches_by_length
from components.engines.training.features import is_list
from components.engines.training.served import raw_tensors
from components.engines.training.signature import NOTHING_ASKED, RawColumn

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

SCORE = "score"
SIGNATURE = "serving_default"


class BulkModel:
    """An exported model, asked for one score a row.

    Args:
        folder: A Model's folder, with `saved_model/` and `training.json`.

    Attributes:
        columns: The raw columns that it reads.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        document = json.loads((folder / "training.json").read_text())
        self.columns = tuple(
            RawColumn.from_json(column) for column in document["signature"]["inputs"]
        )
        self._model = tf.saved_model.load(str(folder / "saved_model"))
        self._function = self._model.signatures[SIGNATURE]

    def scores(self, rows: pa.RecordBatch) -> pa.Array:
        """Score a batch.

        Args:
            rows: The columns of `columns`, and any others.

        Returns:
            A number a row, float64; null where the model has nothing to say of an empty row.

        Raises:
            UsageError: If a column does not fit the signature.
        """
        import pyarrow as pa

        names = [column.name for column in self.columns]
        table = pa.Table.from_batches([rows]).select(names)
        scores = np.empty(table.num_rows)
        for chosen in batches_by_length(self._lengths(table)):
            tensors = raw_tensors(table.take(chosen), self.columns)
            scores[chosen] = self._function(**tensors)["probability"].numpy()
        return pa.array(scores, mask=scores == NOTHING_ASKED)

    def _lengths(self, table: pa.Table) -> NDArray[np.int64]:
        from pyarrow import compute

        longest = np.ones(table.num_rows, np.int64)
        for column in self.columns:
            if is_list(table.schema.field(column.name).type):
                lengths = compute.fill_null(compute.list_value_length(table[column.name]), 0)
                np.maximum(longest, lengths.to_numpy(), out=longest)
        return longest


def scored(
    model: BulkModel, batches: Iterable[pa.RecordBatch], ids: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Score batches, keeping the columns that name their rows.

    Args:
        model: The model.
        batches: Raw rows.
        ids: The columns to keep.

    Yields:
        The kept columns and ``score``, in the order of the rows.

    Raises:
        UsageError: If a column does not fit the signature.
    """
    import pyarrow as pa

    for batch in batches:
        kept = [batch.column(batch.schema.get_field_index(name)) for name in ids]
        yield pa.RecordBatch.from_arrays([*kept, model.scores(batch)], [*ids, SCORE])
