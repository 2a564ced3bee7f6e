"""Typed rows that are refused all the same: without a value that they need, or with a known key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from components.engines.readers.keys import SeenKeys, hash_rows
from components.engines.readers.rejects import Reject, Rejects

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def refuse_missing(
    batch: pa.RecordBatch, numbers: NDArray[np.int64], table: str, file: str, rejects: Rejects
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Refuse typed rows without a value in a column that needs one.

    Args:
        batch: Typed rows.
        numbers: Their row numbers.
        table: The table's name.
        file: The file's name.
        rejects: Takes the rows.

    Returns:
        The other rows, and their numbers.
    """
    import numpy as np
    import pyarrow as pa

    fits = np.ones(batch.num_rows, bool)
    refused: list[Reject] = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.nullable or not column.null_count:
            continue
        lacks = column.is_null().to_numpy(zero_copy_only=False) & fits
        reason = f"column '{field.name}' has no value"
        texts = map(_text, batch.filter(pa.array(lacks)).to_pylist())
        refused += [
            Reject(int(number), reason, text)
            for number, text in zip(numbers[lacks], texts, strict=True)
        ]
        fits &= ~lacks
    rejects.add(table, file, sorted(refused))
    return (batch, numbers) if fits.all() else (batch.filter(pa.array(fits)), numbers[fits])


def refuse_repeats(
    batches: Iterable[tuple[pa.RecordBatch, NDArray[np.int64]]],
    key: Sequence[str],
    seen: SeenKeys,
    rejects: Rejects,
    table: str,
    file: str,
) -> Iterator[pa.RecordBatch]:
    """Let the first row of each key pass and refuse the later ones.

    Args:
        batches: Rows and the lines on which they start.
        key: The columns that name a row; none lets every row pass.
        seen: The keys met so far, shared by the files of a table.
        rejects: Takes the later rows.
        table: The table's name.
        file: The file's name.

    Yields:
        The batches, without the rows refused.
    """
    import numpy as np
    import pyarrow as pa

    reason = f"repeats the key ({', '.join(key)}) of an earlier row"
    for batch, lines in batches:
        is_repeat = (
            seen.repeats(hash_rows([batch.column(name) for name in key]))
            if key and batch.num_rows
            else np.zeros(batch.num_rows, bool)
        )
        if not is_repeat.any():
            yield batch
            continue
        repeated = batch.filter(pa.array(is_repeat))
        texts = map(_text, repeated.to_pylist())
        rejects.add(
            table,
            file,
            [
                Reject(int(line), reason, text)
                for line, text in zip(lines[is_repeat], texts, strict=True)
            ],
        )
        yield batch.filter(pa.array(~is_repeat))


def _text(row: dict[str, object]) -> str:
    """Write a typed row as text, for the quarantine."""
    return ",".join("" if value is None else str(value) for value in row.values())
