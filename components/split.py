"""Split raw rows into examples by learner or by time, never by row.

Rows of one learner are alike; a model judged on rows of a learner it has learned from is judged too
well. By learner, a keyed hash of the learner's id decides, so that a learner stays in their split
when the data grows. By time, the last rows are the test and those before them the validation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.engines.readers.ahead import read_ahead
from learnloop.artifacts import Examples, Records
from learnloop.component import Input, Output, component
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")


@component
def split(
    records: Input[Records],
    examples: Output[Examples],
    *,
    table: str = "",
    by: str = "",
    time_column: str = "",
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
) -> None:
    """Split the rows of one table into train, validation and test.

    Args:
        records: Raw tables.
        examples: The rows by split, in the order of the table, all columns kept.
        table: The table to split; may be left out where there is only one.
        by: The column with the learner; a learner's rows all go to one split.
        time_column: In place of ``by``: the column with the time; the splits follow each other in
            it, and rows of one moment stay together.
        validation: The share for validation: of the learners, or of the rows in order of time.
        test: The share for the test.
        seed: Another seed gives other learners to each split.

    Raises:
        UsageError: The column is missing or has rows without a value, both or neither of ``by`` and
            ``time_column`` are given, or a split would be empty.
    """
    table = table or _only_table(records)
    column = _column(records, table, by, time_column)
    if min(validation, test) < 0 or validation + test >= 1:
        raise UsageError(
            "The shares of validation and test leave nothing to train on.",
            where="parameters 'validation' and 'test'",
            expected="shares of at least 0 that sum to less than 1",
            received=f"{validation} and {test}",
        )
    values = records.table(table, [column]).column(0)
    if values.null_count:
        raise UsageError(
            "A row without a value cannot be put in a split.",
            where=f"table '{table}', column '{column}'",
            expected="a value in each row",
            received=f"{values.null_count:,} rows without one",
        )
    places = by_learner(values, validation, test, seed) if by else by_time(values, validation, test)
    wanted = [name for name, share in zip(SPLITS, (1, validation, test), strict=True) if share]
    for name in wanted:
        rows = examples.write(
            name, _rows_of(records, table, places, SPLITS.index(name)), records.schema(table)
        )
        if not rows:
            raise UsageError(
                f"The split '{name}' is empty.",
                where=f"table '{table}'",
                expected="learners or moments enough for each split",
                received=f"{len(values):,} rows",
            )


def _only_table(records: Records) -> str:
    if len(records.names) != 1:
        raise UsageError(
            "It is not clear which table to split.",
            where="parameter 'table'",
            expected="one of " + ", ".join(records.names),
            received="no name",
        )
    return records.names[0]


def by_learner(
    learners: pa.ChunkedArray, validation: float, test: float, seed: int
) -> NDArray[np.int8]:
    """Assign rows to splits by a keyed hash of the learner.

    Args:
        learners: The learner of each row, of any type that casts to text.
        validation: The share of learners for validation.
        test: The share of learners for the test.
        seed: The key of the hash.

    Returns:
        An int8 array: the place of each row's split in :data:`SPLITS`.

    Example:
        >>> import pyarrow as pa
        >>> places = by_learner(pa.chunked_array([[7, 8, 7]]), 0.3, 0.3, seed=0)
        >>> bool(places[0] == places[2])
        True
    """
    import numpy as np
    import pyarrow as pa

    encoded = learners.dictionary_encode().unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    key = str(seed).encode()
    shares = (
        np.array(
            [
                int.from_bytes(
                    hashlib.blake2b(name.encode(), digest_size=8, key=key).digest(), "big"
                )
                for name in encoded.dictionary.cast(pa.string()).to_pylist()
            ],
            np.float64,
        )
        / 2.0**64
    )
    place_of = np.select([shares < test, shares < test + validation], [2, 1], 0).astype(np.int8)
    places: NDArray[np.int8] = place_of[encoded.indices.to_numpy()]
    return places


def by_time(times: pa.ChunkedArray, validation: float, test: float) -> NDArray[np.int8]:
    """Assign rows to splits in order of time.

    Args:
        times: The time of each row: a number, date or timestamp.
        validation: The share of rows for validation.
        test: The share of rows for the test, the latest ones.

    Returns:
        An int8 array: the place of each row's split in :data:`SPLITS`. Rows of the moment at which
        a split begins all belong to it.
    """
    import numpy as np

    moments = times.to_numpy()
    ordered = np.sort(moments)
    count = len(ordered)
    places = np.zeros(count, np.int8)
    for place, share in ((1, validation + test), (2, test)):
        first = round(count * (1 - share))
        if first < count:
            places[moments >= ordered[first]] = place
    return places


def _column(records: Records, table: str, by: str, time_column: str) -> str:
    if bool(by) == bool(time_column):
        raise UsageError(
            "Rows are split by learner or by time.",
            where="parameters 'by' and 'time_column'",
            expected="one of them",
            received="both" if by else "neither",
        )
    column = by or time_column
    names = records.schema(table).names
    if column not in names:
        raise UsageError(
            f"The table '{table}' has no column '{column}'.",
            where="parameter 'by'" if by else "parameter 'time_column'",
            expected=closest(column, names),
            received=repr(column),
        )
    return column


def _rows_of(
    records: Records, table: str, places: NDArray[np.int8], place: int
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of one split."""
    import pyarrow as pa

    start = 0
    for batch in read_ahead(records.batches(table)):
        chosen = places[start : start + batch.num_rows] == place
        start += batch.num_rows
        if chosen.any():
            yield batch.filter(pa.array(chosen))
