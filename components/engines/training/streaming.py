"""Examples that are not held in memory: chunks of row groups, read anew each epoch.

Rows are shuffled twice: each epoch draws which row groups make up a chunk, and the rows of a chunk
are shuffled as examples in memory are. Memory holds one chunk, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.engines.training.packing import PackedExamples, pack, wanted_columns

MEMORY_BYTES = 256 * 2**20
"""Examples whose packed form is larger than this are streamed."""

CHUNK_ROWS = 1_000_000
"""About how many rows a chunk has."""


@dataclass(frozen=True)
class StreamedExamples:
    """Examples of a Parquet file, read chunk by chunk.

    Attributes:
        file: The Parquet file of one split.
        label: The column to predict.
        weight: A column of weights, or None.
        columns: The features to read; all numeric ones when None.
        chunk_rows: About how many rows to hold at once.
    """

    file: Path
    label: str
    weight: str | None = None
    columns: tuple[str, ...] | None = None
    chunk_rows: int = CHUNK_ROWS

    @property
    def rows(self) -> int:
        """The number of examples."""
        import pyarrow.parquet as parquet

        return int(parquet.read_metadata(self.file).num_rows)

    @property
    def longest(self) -> int:
        """Steps of the longest sequence, 1 where there is none; reads the file once."""
        return max((chunk.longest for chunk in self.chunks()), default=1)

    def chunks(self, generator: np.random.Generator | None = None) -> Iterator[PackedExamples]:
        """Yield all examples in packed chunks.

        Args:
            generator: Draws the row groups of each chunk; in the file's order when None.
        """
        import pyarrow.parquet as parquet

        with parquet.ParquetFile(self.file) as file:
            names = wanted_columns(file.schema_arrow, self.label, self.weight, self.columns)
            groups = np.arange(file.num_row_groups)
            if generator is not None:
                groups = generator.permutation(groups)
            per_group = max(1, file.metadata.num_rows // max(1, len(groups)))
            size = max(1, self.chunk_rows // per_group)
            for start in range(0, len(groups), size):
                table = file.read_row_groups(groups[start : start + size].tolist(), names)
                yield pack(table, label=self.label, weight=self.weight, columns=self.columns)


def open_examples(
    file: Path,
    *,
    label: str,
    weight: str | None = None,
    columns: tuple[str, ...] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> PackedExamples | StreamedExamples:
    """Read a split into memory, or stream it where it is too large.

    Args:
        file: The Parquet file of one split.
        label: The column to predict.
        weight: A column of weights, or None.
        columns: The features to read; all numeric ones when None.
        memory_bytes: The largest packed size to hold.

    Returns:
        The examples.

    Raises:
        UsageError: If a column is missing or cannot feed a model.
    """
    import pyarrow.parquet as parquet

    metadata = parquet.read_metadata(file)
    schema = parquet.read_schema(file)
    names = wanted_columns(schema, label, weight, columns)
    values = sum(
        metadata.row_group(group).column(at).num_values
        for group in range(metadata.num_row_groups)
        for at in range(metadata.num_columns)
        if metadata.row_group(group).column(at).path_in_schema.partition(".")[0] in names
    )
    if values * 4 > memory_bytes:
        return StreamedExamples(file, label, weight, columns)
    table = parquet.read_table(file, columns=names)
    return pack(table, label=label, weight=weight, columns=columns)
