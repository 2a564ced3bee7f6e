"""A few raw rows as a caller of the served model would send them: for examples and warm-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from learnloop.artifacts import Examples, Model

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

Tensors = Mapping[str, "npt.NDArray[Any]"]


def served_rows(model: Model, examples: Examples, rows: int) -> Tensors:
    """Take the first rows of the last split, in the tensors of the served signature.

    Args:
        model: Names the signature's columns, none of which identifies a learner.
        examples: Raw rows by split.
        rows: How many, if there are so many.

    Returns:
        An array by column, ``[rows, *shape]``, padded as the signature says.
    """
    import pyarrow as pa

    names = [column["name"] for column in model.training["signature"]["inputs"]]
    batch = next(examples.batches(examples.names[-1], rows, names))
    return as_served(model, pa.Table.from_batches([batch]))


def as_served(model: Model, table: pa.Table) -> Tensors:
    """Turn raw rows into the tensors of the served signature.

    Args:
        model: Names the signature's columns.
        table: Rows with these columns, and any others.

    Returns:
        An array by column, ``[rows, *shape]``, padded as the signature says.
    """
    from components.engines.training.served import raw_tensors
    from components.engines.training.signature import RawColumn

    columns = [RawColumn.from_json(column) for column in model.training["signature"]["inputs"]]
    tensors = raw_tensors(table.select([column.name for column in columns]), columns)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def as_example(rows: Tensors) -> dict[str, Any]:
    """Write rows as MLflow keeps an input example.

    Args:
        rows: An array by column.
    """
    return {
        column: (values.astype(str) if values.dtype == object else values).tolist()
        for column, values in rows.items()
    }
