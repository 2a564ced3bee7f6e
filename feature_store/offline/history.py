"""Historical features: entity rows with the features as they were known at their moments.

**What is answered.** For an entity row with keys *k* and moment *t* (``event_timestamp``), and a
view: of the source's rows with keys *k* that had happened by *t* and, as knowledge is cut, had been
recorded by *t*, the one that happened last; of those that happened at the same time the one
recorded last; of those the last in the source, in the order of file names and of rows. If it
happened more than the view's TTL before *t*, there is no answer. So a correction recorded after *t*
is not seen, and where all rows of the newest event were recorded after *t* the answer is an older
event. A row with a null key, without the time it happened, or (as knowledge is cut) without the
time it was recorded, answers nothing.

**What comes back.** Every entity row once, duplicates too, in the order given, all its columns, and
the features: null where there is no answer, where the answer itself is null, and for entity rows
with a null key or moment.

**What it takes.** Memory grows with the entity rows looked up at once (:data:`CHUNK_ROWS`), not
with the source, so nothing has to spill. More entity rows than that are looked up chunk by chunk,
each chunk passing over the sources once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_store.asking import Asked, full_name
from feature_store.definitions import FeatureView
from feature_store.fields import EVENT_TIMESTAMP, FeatureType, Field
from feature_store.offline.joining import Cut, join_view
from feature_store.offline.reading import fits
from feature_store.on_demand import answer_columns
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 1_000_000
"""Entity rows looked up at once: about 150 MB."""
OUTPUT_ROWS = 1 << 16


class HistoricalFeatures:
    """The answer to :meth:`FeatureStore.get_historical_features`, computed when it is read.

    Args:
        asked: What is asked for.
        entity_rows: An Arrow table, a pandas frame or the path of a Parquet file.
        cut: What of the past may be seen.

    Raises:
        UsageError: The entity rows lack a column, or have one of another type.
    """

    def __init__(self, asked: Asked, entity_rows: Any, cut: Cut) -> None:
        self._asked = asked
        self._cut = cut
        self._rows = _EntityRows(entity_rows)
        self._check_columns()

    @property
    def schema(self) -> pa.Schema:
        """The columns of the answer: those of the entity rows, then the features."""
        features = [(column.name, column.field.dtype.arrow) for column in self._asked.columns]
        return pa.schema([*self._rows.schema, *(pa.field(*feature) for feature in features)])

    def to_reader(self) -> pa.RecordBatchReader:
        """Stream the answer.

        Returns:
            Record batches, computed as they are read.
        """
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def to_arrow(self) -> pa.Table:
        """Compute the whole answer."""
        return self.to_reader().read_all()

    def to_df(self) -> pd.DataFrame:
        """Compute the whole answer as a pandas frame."""
        return self.to_arrow().to_pandas()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for chunk in self._rows.chunks():
            table = self._answer(chunk)
            yield from table.to_batches(OUTPUT_ROWS)

    def _answer(self, chunk: pa.Table) -> pa.Table:
        columns: dict[str, pa.Array] = {
            column.name: _typed(chunk[column.name], column)
            for column in (*self._asked.join_keys, *self._asked.request_fields)
        }
        moments = _combined(chunk[EVENT_TIMESTAMP])
        read = {name: columns[name] for name in (f.name for f in self._asked.request_fields)}
        for projection in self._asked.stored:
            view = projection.view
            assert isinstance(view, FeatureView)
            keys = [columns[name] for name in view.key_names]
            found = join_view(view, projection.fields, keys, moments, self._cut)
            read |= {full_name(view, name): values for name, values in found.items()}
        answer = answer_columns(self._asked, read, chunk.num_rows)
        return pa.table([*chunk.columns, *answer.values()], schema=self.schema)

    def _check_columns(self) -> None:
        schema = self._rows.schema
        wanted = (*self._asked.join_keys, *self._asked.request_fields)
        for name in (EVENT_TIMESTAMP, *(column.name for column in wanted)):
            if name not in schema.names:
                raise UsageError(
                    f"The entity rows have no column '{name}'.",
                    where="entity rows",
                    expected=closest(name, schema.names),
                    received=repr(name),
                )
        if not pa.types.is_timestamp(schema.field(EVENT_TIMESTAMP).type):
            raise _wrong_type(EVENT_TIMESTAMP, FeatureType.TIMESTAMP, schema)
        for column in wanted:
            if not fits(schema.field(column.name).type, column.dtype):
                raise _wrong_type(column.name, column.dtype, schema)
        for answered in self._asked.columns:
            if answered.name in schema.names:
                raise UsageError(
                    f"The entity rows have a column named as a feature, '{answered.name}'.",
                    where=f"'{answered.view.name}:{answered.field.name}'",
                    expected="names that differ",
                    received=repr(answered.name),
                    next="ask with full_feature_names=True, or drop the column",
                )


class _EntityRows:
    """The entity rows, as tables of at most :data:`CHUNK_ROWS` rows."""

    def __init__(self, given: Any) -> None:
        self._file: Path | None = None
        self._table: pa.Table | None = None
        if isinstance(given, str | Path):
            from pyarrow import parquet

            self._file = Path(given)
            if not self._file.is_file():
                raise UsageError(
                    "The file of entity rows is not there.",
                    where=self._file,
                    expected="a Parquet file",
                    received="nothing",
                )
            self.schema = parquet.read_schema(self._file)
        else:
            self._table = (
                given
                if isinstance(given, pa.Table)
                else pa.Table.from_pandas(given, preserve_index=False)
            )
            self.schema = self._table.schema
        self.schema = self.schema.remove_metadata()

    def chunks(self) -> Iterator[pa.Table]:
        if self._table is not None:
            for start in range(0, self._table.num_rows, CHUNK_ROWS):
                chunk = self._table.slice(start, CHUNK_ROWS)
                yield chunk.replace_schema_metadata(None)
            return
        from pyarrow import parquet

        with parquet.ParquetFile(self._file) as file:
            for batch in file.iter_batches(CHUNK_ROWS):
                yield pa.Table.from_batches([batch]).replace_schema_metadata(None)


def _wrong_type(name: str, expected: FeatureType, schema: pa.Schema) -> UsageError:
    return UsageError(
        f"Column '{name}' of the entity rows has another type.",
        where="entity rows",
        expected=str(expected),
        received=str(schema.field(name).type),
    )


def _typed(values: pa.ChunkedArray, column: Field) -> pa.Array:
    try:
        return _combined(values).cast(column.dtype.arrow)
    except pa.ArrowInvalid:
        raise UsageError(
            f"A value of '{column.name}' does not fit its type.",
            where="entity rows",
            expected=f"values that fit {column.dtype}",
            received=str(values.type),
        ) from None


def _combined(column: pa.ChunkedArray) -> pa.Array:
    """One array of a column; pyarrow 10 gives chunks back when there is none or one too many."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
