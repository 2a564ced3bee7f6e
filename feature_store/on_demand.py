"""Computing on-demand features and putting the answer together, offline and online alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from feature_store.asking import Asked, full_name
from feature_store.definitions import OnDemandFeatureView
from learnloop.errors import LearnLoopError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa


def answer_columns(asked: Asked, read: Mapping[str, pa.Array], rows: int) -> dict[str, pa.Array]:
    """Compute what is computed on demand and choose the columns of the answer.

    Args:
        asked: What is asked for.
        read: The stored features by their full names, and the columns of the entity rows that
            on-demand views are given by their own.
        rows: How many rows there are.

    Returns:
        The features by their names in the answer, in order.

    Raises:
        LearnLoopError: A function fails.
        UsageError: A function does not give what its schema says.
    """
    columns = dict(read)
    for view in asked.on_demand:
        for name, values in compute(view, columns, rows).items():
            columns[full_name(view, name)] = values
    return {column.name: columns[column.full_name] for column in asked.columns}


def compute(
    view: OnDemandFeatureView, columns: Mapping[str, pa.Array], rows: int
) -> dict[str, pa.Array]:
    """Call the function of an on-demand view.

    Args:
        view: The view.
        columns: Stored features by full name, request columns by name.
        rows: How many rows there are.

    Returns:
        The view's features by name, of the types of its schema.

    Raises:
        LearnLoopError: The function fails.
        UsageError: It does not give what the schema says.
    """
    given = {
        name: columns[full_name(projection.view, name)]
        for projection in view.projections
        for name in projection.names
    }
    given |= {column.name: columns[column.name] for column in view.request_fields}
    where = f"on-demand feature view '{view.name}'"
    try:
        made = view.function(given)
    except LearnLoopError:
        raise
    except Exception as fault:
        raise LearnLoopError(
            f"The function of '{view.name}' failed.",
            where=where,
            received=type(fault).__name__,
            next=f"call it with columns of your own: {view.function.__module__}",
        ) from fault
    if set(made) != set(view.feature_names):
        raise UsageError(
            f"The function of '{view.name}' does not give what its schema says.",
            where=where,
            expected=", ".join(view.feature_names),
            received=", ".join(made) or "nothing",
        )
    return {
        column.name: _typed(made[column.name], column.dtype.arrow, rows, f"{where}, {column.name}")
        for column in view.schema
    }


def _typed(values: Any, wanted: pa.DataType, rows: int, where: str) -> pa.Array:
    import pyarrow as pa

    try:
        if isinstance(values, pa.ChunkedArray):  # which pyarrow 10 combines into one of no chunk
            values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], wanted)
        array = values if isinstance(values, pa.Array) else pa.array(values)
        typed = array if array.type == wanted else array.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise UsageError(
            "An on-demand feature is not of its type.",
            where=where,
            expected=wanted,
            received=getattr(values, "type", None)
            or getattr(values, "dtype", type(values).__name__),
        ) from None
    if len(typed) != rows:
        raise UsageError(
            "An on-demand feature needs a value for each row.",
            where=where,
            expected=f"{rows} values",
            received=f"{len(typed)}",
        )
    return typed
