"""The newest row of each key among those that came to count in a span: what is materialised.

The same rules as in the joins (``moments.py``), asked for all keys at one moment. Here the keys are
not known beforehand and may be more than fit in memory, so DuckDB sorts them, and spills.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from feature_store.definitions import FeatureView
from feature_store.offline.reading import BATCH_ROWS, SourceChanged, SourceFile, SourceReader
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

EVENT, CREATED = "event__time", "created__time"
"""The columns of the answer with the times; no field can be named so."""
MEMORY = "512MB"


@contextlib.contextmanager
def latest_rows(
    view: FeatureView, start: datetime | None, end: datetime
) -> Iterator[pa.RecordBatchReader]:
    """Read the newest row of each key among those that came to count in a span.

    A row counts from the later of the times at which it happened and was recorded. Applied to
    spans that follow one another, the newest of the rows that each gives, by
    (:data:`EVENT`, :data:`CREATED`) and of equal ones the one given later, is what the offline join
    answers at the last span's end, but for the TTL, which is asked for when the value is read.

    Args:
        view: The view.
        start: The span's beginning, itself left out; None for the beginning of time.
        end: The span's end, itself in it.

    Yields:
        Record batches: the join keys and the features of the view's types, then
        :data:`EVENT` and :data:`CREATED`, int64 of microseconds since 1970 in UTC. Rows with a
        null key or without a time are left out. Where the source has no recorded time, both times
        are the event's.

    Raises:
        UsageError: A moment has no zone, or the source does not fit.
        SourceChanged: The source was compacted meanwhile: try again.
    """
    import duckdb
    import pyarrow as pa

    span = [_microseconds(moment, view) if moment else None for moment in (start, end)]
    columns = (*view.join_keys, *view.schema)
    schema = pa.schema(
        [
            *((column.name, column.dtype.arrow) for column in columns),
            (EVENT, pa.int64()),
            (CREATED, pa.int64()),
        ]
    )
    with (
        SourceReader(view) as reader,
        tempfile.TemporaryDirectory(prefix="features-") as scratch,
        duckdb.connect() as connection,
    ):
        query = _query(reader, *span)
        if not query:
            yield pa.RecordBatchReader.from_batches(schema, iter(()))
            return
        connection.execute(f"SET memory_limit = '{MEMORY}'; SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = '{scratch}'")
        try:
            found = connection.sql(query).to_arrow_reader(BATCH_ROWS)
            yield pa.RecordBatchReader.from_batches(schema, _cast(found, schema, reader))
        except (duckdb.IOException, FileNotFoundError):
            raise SourceChanged(
                "A source changed while it was read.", where=f"source '{reader.source.name}'"
            ) from None


def _cast(
    found: pa.RecordBatchReader, schema: pa.Schema, reader: SourceReader
) -> Iterator[pa.RecordBatch]:
    """Give the columns the view's types, as the join does."""
    import pyarrow as pa

    fields = (*reader.view.join_keys, *reader.view.schema)
    for batch in found:
        arrays = [
            reader.cast(batch.column(place), field, f"source '{reader.source.name}'")
            for place, field in enumerate(fields)
        ]
        times = batch.columns[len(fields) :]
        yield pa.RecordBatch.from_arrays([*arrays, *times], schema=schema)


def _query(reader: SourceReader, low: int | None, high: int | None) -> str:
    """One SELECT for all files whose columns are named alike, and the newest of all their rows.

    Files without a row of the span are not read; with none left, the query is empty.
    """
    alike: dict[tuple[str, ...], list[SourceFile]] = {}
    view = reader.view
    names = (*view.key_names, *view.feature_names)
    for file in reader.files:
        last = None if low is None else _last_moment(file, reader.time_columns)
        if last is not None and low is not None and last <= low:
            continue  # as most parts of a stream, each time
        alike.setdefault(tuple(reader.column_in(file, name) for name in names), []).append(file)
    parts = []
    for places, files in alike.items():
        columns = [
            f'"{place}" AS "{name}"' if place else f'NULL AS "{name}"'
            for name, place in zip(names, places, strict=True)
        ]
        paths = ", ".join("'" + str(file.path).replace("'", "''") + "'" for file in files)
        times = [_moment(f'"{name}"', reader.unit) for name in reader.time_columns]
        parts.append(
            f"SELECT {', '.join(columns)}, {times[0]} AS happened, {times[-1]} AS recorded,"  # noqa: S608
            f" source__file, file_row_number FROM read_parquet([{paths}], union_by_name = true,"
            " filename = 'source__file', file_row_number = true)"
        )
    if not parts:
        return ""
    keys = [f'"{key}"' for key in view.key_names]
    scale = "" if reader.unit == "us" else " // 1000"  # rounded up before
    wanted = [f"{key} IS NOT NULL" for key in keys]
    wanted.append(f"greatest(happened, recorded){scale} <= {high}")
    if low is not None:
        wanted.append(f"greatest(happened, recorded){scale} > {low}")
    chosen = ", ".join(f'"{name}"' for name in names)
    return (
        f"SELECT {chosen}, happened{scale} AS {EVENT}, recorded{scale} AS {CREATED}"  # noqa: S608
        f" FROM ({' UNION ALL BY NAME '.join(parts)})"
        f" WHERE happened IS NOT NULL AND recorded IS NOT NULL AND {' AND '.join(wanted)}"
        f" QUALIFY row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY happened DESC,"
        " recorded DESC, source__file DESC, file_row_number DESC) = 1"
    )


def _last_moment(file: SourceFile, times: Sequence[str]) -> int | None:
    """The last time in a file, in microseconds rounded up, if its footer tells."""
    metadata = file.metadata
    places = {metadata.schema.column(at).path: at for at in range(metadata.num_columns)}
    last = []
    for name in times:
        thousandths = {"ms": 1_000_000, "us": 1000, "ns": 1}[file.schema.field(name).type.unit]
        for group in range(metadata.num_row_groups):
            told = metadata.row_group(group).column(places[name]).statistics
            if told is None or not told.has_min_max:
                return None
            last.append(-(-told.max_raw * thousandths // 1000))
    return max(last, default=None)


def _moment(column: str, unit: str) -> str:
    """A time as a whole number; nanoseconds so that dividing by a thousand rounds up."""
    return f"epoch_us({column})" if unit == "us" else f"epoch_ns({column}) + 999"


def _microseconds(moment: datetime, view: FeatureView) -> int:
    if moment.tzinfo is None:
        raise UsageError(
            "A moment needs a time zone.",
            where=f"feature view '{view.name}'",
            expected="a datetime with a zone, as datetime.now(UTC)",
            received=repr(moment),
        )
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
