"""A few raw rows as a caller of the served model would send them: for examples and warm-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from learnloop.artifacts import Examples, Model

if TYPE_CHECKING:
    import numpy.typing as npt


def served_rows(model: Model, examples: Examples, rows: int) -> Mapping[str, npt.NDArray[Any]]:
    """Take the first rows of the last split, in the tensors of the served signature.

    Args:
        model: Names the signature's columns, none of which identifies a learner.
        examples: Raw rows by split.
        rows: How many, if there are so many.

    Returns:
        An array by column, ``[rows, *shape]``, padded as the signature says.
    """
    import pyarrow as pa

    from components.engines.training.served import raw_tensors
    from components.engines.training.signature import RawColumn

    columns = [RawColumn.from_json(column) for column in model.training["signature"]["inputs"]]
    names = [column.name for column in columns]
    batch = next(examples.batches(examples.names[-1], rows, names))
    tensors = raw_tensors(pa.Table.from_batches([batch]), columns)
    return {name: tensor.numpy() for name, tensor in tensors.items()}
