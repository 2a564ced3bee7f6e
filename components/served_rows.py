"""A few raw rows as a caller of the served model would send them: real ones, and nobody's.

What is kept beside a model (warm-up requests, the input example in the registry) outlives the rows
that it was trained on. So it is made up, column by column, of what many rows have in common: no row
and no value is anybody's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from learnloop.artifacts import Examples, Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Tensors = Mapping[str, "npt.NDArray[Any]"]

SAMPLE_ROWS = 10_000
"""So many rows tell what values are like."""

COMMON = 10
"""A number is the mean of at least so many neighbours in its order; texts are taken that so many
rows have, if there are such."""


def served_rows(model: Model, examples: Examples, rows: int) -> Tensors:
    """Take the first rows of the last split, in the tensors of the served signature.

    They are real learners' rows: nothing of them may be kept.

    Args:
        model: Names the signature's columns, none of which identifies a learner.
        examples: Raw rows by split.
        rows: How many, if there are so many.

    Returns:
        An array by column, ``[rows, *shape]``, padded as the signature says.
    """
    return _as_served(model, _sample(model, examples, rows))


def made_up_rows(model: Model, examples: Examples, rows: int) -> Tensors:
    """Make rows up that are like those of the last split and nobody's.

    Lists of one row have the lengths that lists have at one place in their order, so that columns
    whose lists are always equally long stay so.

    Args:
        model: Names the signature's columns.
        examples: Raw rows by split.
        rows: How many.

    Returns:
        An array by column, ``[rows, *shape]``, padded as the signature says; equal for equal rows.
    """
    import pyarrow as pa

    sample = _sample(model, examples, SAMPLE_ROWS)
    made_up = {
        name: _made_up(column.combine_chunks(), rows, turn)
        for turn, (name, column) in enumerate(zip(sample.column_names, sample.columns, strict=True))
    }
    return _as_served(model, pa.table(made_up))


def _sample(model: Model, examples: Examples, rows: int) -> pa.Table:
    import pyarrow as pa

    names = [column["name"] for column in model.training["signature"]["inputs"]]
    return pa.Table.from_batches([next(examples.batches(examples.names[-1], rows, names))])


def _as_served(model: Model, table: pa.Table) -> Tensors:
    from components.engines.training.served import raw_tensors
    from components.engines.training.signature import RawColumn

    columns = [RawColumn.from_json(column) for column in model.training["signature"]["inputs"]]
    return {name: tensor.numpy() for name, tensor in raw_tensors(table, columns).items()}


def _made_up(column: pa.Array, count: int, turn: int) -> pa.Array:
    """Make values up, for each turn in another order, so that columns do not rise together."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    known = column.drop_null()
    if not len(known) or not count:
        return pa.nulls(count, column.type)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lengths = _means(pc.list_value_length(known).to_numpy(), count).astype(np.int64)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        values = _made_up(known.flatten(), int(lengths.sum()), turn)
        return pa.ListArray.from_arrays(offsets, values).cast(column.type)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = _means(known.to_numpy(), count)[_mixed(count, turn)]
        return pa.array(numbers.astype(known.to_numpy().dtype), column.type)
    values, counts = known.value_counts().flatten()
    frequent = pa.table({"value": values, "count": counts})
    frequent = frequent.sort_by([("count", "descending"), ("value", "ascending")])
    common = frequent.filter(pc.greater_equal(frequent["count"], COMMON))
    texts = (common if len(common) else frequent.slice(0, 1))["value"].combine_chunks()
    return texts.take(pa.array((np.arange(count) + turn) % len(texts)))


def _mixed(count: int, turn: int) -> npt.NDArray[np.int64]:
    """Numbers from 0, mixed evenly and always alike, by multiples of the golden ratio."""
    import numpy as np

    places = (np.arange(count) * (turn + 1) * (5**0.5 - 1) / 2) % 1.0
    return np.argsort(places, kind="stable")


def _means(values: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """Means of neighbours, from the least to the greatest, again where there are too few."""
    import numpy as np

    groups = np.array_split(np.sort(values), max(1, min(count, len(values) // COMMON)))
    means = np.array([group.mean() for group in groups])
    return np.resize(np.rint(means) if values.dtype.kind in "iu" else means, count)
