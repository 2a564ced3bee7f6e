"""Finding a person in the tables of artifacts, by the columns that name learners."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from components.engines.readers import REJECTS_COLUMNS
from feature_store.people import words_of

if TYPE_CHECKING:
    import pyarrow as pa

REJECTED_TEXT = "text"
"""The column of a quarantine with what a refused row was, in which somebody may be named."""


def rows_naming(
    folder: Path, columns: Collection[str], is_theirs: Callable[[str], bool]
) -> int | None:
    """Count the rows of an artifact that name one of some people.

    Args:
        folder: The artifact, with Parquet files.
        columns: The columns that hold a learner's identifier.
        is_theirs: Tells, by an identifier as text, whether it is one of theirs.

    Returns:
        How many; None where a file cannot be read, so that nobody knows.
    """
    import pyarrow as pa

    try:
        return sum(_rows_of(file, columns, is_theirs) for file in sorted(folder.glob("*.parquet")))
    except (pa.ArrowInvalid, OSError):
        return None


def which(
    batch: pa.RecordBatch, columns: Collection[str], is_theirs: Callable[[str], bool]
) -> pa.Array:
    """Tell which rows name one of some people.

    Args:
        batch: Rows.
        columns: The columns that hold a learner's identifier.
        is_theirs: Tells, by an identifier as text, whether it is one of theirs.

    Returns:
        A bool array without nulls.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.array([False] * batch.num_rows)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in columns:
            coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            texts = coded.dictionary.cast(pa.string()).to_pylist()
            named = pa.array([bool(text) and is_theirs(text) for text in texts], pa.bool_())
            found = pc.or_(found, pc.fill_null(named.take(coded.indices), False))
    return found


def _rows_of(file: Path, columns: Collection[str], is_theirs: Callable[[str], bool]) -> int:
    import pyarrow.compute as pc
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(file) as opened:
        names = opened.schema_arrow.names
        if tuple(names) == REJECTS_COLUMNS:
            texts = opened.read(columns=[REJECTED_TEXT])[REJECTED_TEXT].to_pylist()
            return sum(any(map(is_theirs, words_of(text or ""))) for text in texts)
        wanted = [name for name in names if name in columns]
        batches = opened.iter_batches(columns=wanted) if wanted else ()
        return sum(pc.sum(which(batch, columns, is_theirs)).as_py() or 0 for batch in batches)
