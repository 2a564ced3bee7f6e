"""Text becomes typed columns, and the values that do not fit are found without a loop over rows.

Arrow's casts say that some value does not fit, not which. :func:`cast_column` finds them by halving
the column until the misfits stand alone, which costs a handful of casts for each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def cast_column(texts: pa.Array, kind: pa.DataType) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Cast a column of texts, telling the values that do not fit.

    Args:
        texts: Strings, null where there is no value.
        kind: The type wanted.

    Returns:
        The column (null where a value does not fit), and a bool array that is True there.

    Example:
        >>> import pyarrow as pa
        >>> column, is_misfit = cast_column(pa.array(["1", "x", None]), pa.int64())
        >>> column.to_pylist(), is_misfit.tolist()
        ([1, None, None], [False, True, False])
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    is_misfit = np.zeros(len(texts), bool)
    if pa.types.is_string(kind):
        return texts, is_misfit
    trimmed = pc.utf8_trim_whitespace(texts)
    pieces: list[pa.Array] = []
    open_pieces = [(0, len(trimmed))]
    while open_pieces:
        start, end = open_pieces.pop()
        try:
            pieces.append(_cast(trimmed.slice(start, end - start), kind))
        except pa.ArrowInvalid:
            if end - start == 1:
                is_misfit[start] = True
                pieces.append(pa.nulls(1, kind))
            else:
                middle = (start + end) // 2
                open_pieces += [(middle, end), (start, middle)]
    return pa.concat_arrays(pieces), is_misfit


def _cast(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_date(kind):
        return texts.cast(kind)
    if not pc.all(pc.match_substring_regex(texts, r"^\d{4}-\d{2}-\d{2}$")).as_py() and (
        texts.null_count < len(texts)
    ):
        raise pa.ArrowInvalid("not a date")
    return texts.cast(pa.timestamp("s")).cast(kind)


def infer_type(texts: pa.Array, tolerance: float) -> pa.DataType:
    """Infer a column's type from a sample: the narrowest that nearly all values fit.

    Args:
        texts: Strings, null where there is no value.
        tolerance: The share of values that may be unfit.

    Returns:
        int64, double, bool, date32, a timestamp in microseconds (in UTC where the texts have an
        offset), or string. Numbers with a leading zero are codes, and stay text.

    Example:
        >>> import pyarrow as pa
        >>> str(infer_type(pa.array(["2024-01-01", None]), 0.01))
        'date32[day]'
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = texts.drop_null()
    if not len(values) or pc.any(pc.match_substring_regex(values, r"^[+-]?0\d")).as_py():
        return pa.string()
    for kind in (
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.date32(),
        pa.timestamp("us"),
        pa.timestamp("us", "UTC"),
    ):
        if _fits(values.slice(0, 100), kind, 0.1) and _fits(values, kind, tolerance):
            return kind
    return pa.string()


def _fits(values: pa.Array, kind: pa.DataType, tolerance: float) -> bool:
    return bool(cast_column(values, kind)[1].mean() <= tolerance)


def type_by_name(name: str) -> pa.DataType:
    """Find an Arrow type by its name.

    Args:
        name: For example ``int64``, ``double``, ``string``, ``date32``, ``timestamp[us]``.

    Raises:
        UsageError: There is no such type here.
    """
    import pyarrow as pa

    if name in ("timestamp", "timestamp[us]"):
        return pa.timestamp("us")
    if name == "timestamp[us, UTC]":
        return pa.timestamp("us", "UTC")
    known = ("string", "int32", "int64", "float32", "double", "float64", "bool", "date32")
    if name in known:
        return pa.type_for_alias(name)
    raise UsageError(
        f"There is no column type '{name}'.",
        where="parameter 'types'",
        expected=closest(name, (*known, "timestamp[us]", "timestamp[us, UTC]")),
        received=repr(name),
    )


def misfit_reason(column: str, kind: pa.DataType) -> str:
    """Say that a column's value does not fit its type, without quoting the value.

    Args:
        column: The column's name.
        kind: Its type.
    """
    import pyarrow as pa

    types = pa.types
    if types.is_integer(kind):
        noun = "a whole number"
    elif types.is_floating(kind):
        noun = "a number"
    elif types.is_boolean(kind):
        noun = "true or false"
    elif types.is_date(kind):
        noun = "a date"
    else:
        noun = "a time"
    return f"column '{column}' is not {noun}"
