"""Reading the log: the predictions of a model in a span of time, of all its versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from learnloop.errors import LearnLoopError, UsageError, closest
from serving.prediction_log.columns import base_schema
from serving.prediction_log.journal import UNFINISHED, model_folder

if TYPE_CHECKING:
    import pyarrow as pa


def read_predictions(
    folder: Path,
    model: str,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] = (),
) -> pa.Table:
    """Read the logged predictions of a model.

    Args:
        folder: The log's folder.
        model: The model's name.
        since: The first moment, with a time zone; from the beginning when None.
        until: The moment before which they end, with a time zone; to the end when None.
        columns: The columns wanted; all when empty. Those of every row are
            :func:`serving.prediction_log.columns.base_schema`, then come ``feature.NAME`` and
            ``answer.NAME`` of all versions, null where a version had none.

    Returns:
        A row a prediction, part by part in the order of time. What was answered in the last
        minute may still be in a journal.

    Raises:
        UsageError: There is no log, or a moment has no time zone.
        LearnLoopError: A part is damaged, or two versions have one column of unlike types.
    """
    import pyarrow as pa

    parts = find_parts(folder, model, since, until)
    schema = _schema(parts, columns)
    batches = _batches(parts, schema, since, until)
    return pa.Table.from_batches(batches, schema)


def prediction_batches(
    folder: Path,
    model: str,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Read the logged predictions of a model in bounded memory; see :func:`read_predictions`."""
    parts = find_parts(folder, model, since, until)
    yield from _batches(parts, _schema(parts, columns), since, until)


def find_parts(
    folder: Path, model: str, since: datetime | None, until: datetime | None
) -> list[Path]:
    """Find the parts of the hours that a span of time touches; see :func:`read_predictions`."""
    for moment in (since, until):
        if moment is not None and moment.tzinfo is None:
            raise UsageError(
                "A moment without a time zone is not one moment.",
                where="since, until",
                expected="datetime(…, tzinfo=UTC)",
                received=moment.isoformat(),
            )
    if not folder.is_dir():
        raise UsageError(
            "There is no prediction log.",
            where=folder,
            expected="the folder that a server logs to",
            next="learnloop serve --help",
        )
    found = []
    for hour in model_folder(folder, model).glob("date=*/hour=*"):
        begins = hour_of(hour)
        if (since is None or begins + timedelta(hours=1) > since) and (
            until is None or begins < until
        ):
            found += [part for part in hour.glob("*.parquet") if UNFINISHED not in part.name]
    return sorted(found)


def hour_of(folder: Path) -> datetime:
    """Tell when the hour of a folder of parts, ``date=…/hour=…``, begins."""
    text = f"{folder.parent.name[5:]}T{folder.name[5:]}"
    return datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=UTC)


def _schema(parts: Sequence[Path], columns: Sequence[str]) -> pa.Schema:
    """Join the columns of all parts."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    fields = {field.name: field for field in base_schema()}
    for part in parts:
        try:
            schema = parquet.read_schema(part)
        except (OSError, pa.ArrowInvalid) as fault:
            raise _damaged(part, fault) from None
        for field in schema:
            known = fields.get(field.name, field)
            joined = field.with_type(_joined_type(part, known, field))
            fields[field.name] = joined.with_nullable(known.nullable)
    if not columns:
        return pa.schema(list(fields.values()))
    for name in columns:
        if name not in fields:
            raise UsageError(
                f"The prediction log has no column '{name}'.",
                expected=closest(name, fields),
                received=repr(name),
            )
    return pa.schema([fields[name] for name in columns])


def _joined_type(part: Path, one: pa.Field, other: pa.Field) -> pa.DataType:
    import pyarrow as pa

    if one.type == other.type:
        return one.type
    kinds = {one.type, other.type}
    if kinds == {pa.string(), pa.binary()}:
        return pa.binary()
    if all(pa.types.is_integer(kind) for kind in kinds):
        return pa.int64()
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        return pa.float64()
    raise LearnLoopError(
        f"Two versions of the model have a column '{one.name}' of unlike types.",
        where=part,
        expected=one.type,
        received=other.type,
        next="read a span of time with one of them",
    )


def _batches(
    parts: Sequence[Path],
    schema: pa.Schema,
    since: datetime | None,
    until: datetime | None,
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    for part in parts:
        try:
            with parquet.ParquetFile(part) as file:
                wanted = {*schema.names, "time"} & {*file.schema_arrow.names}
                for batch in file.iter_batches(columns=sorted(wanted)):
                    rows = _within(pa.Table.from_batches([batch]), since, until)
                    yield from _as(rows, schema).to_batches()
        except (OSError, pa.ArrowInvalid) as fault:
            raise _damaged(part, fault) from None


def _within(rows: pa.Table, since: datetime | None, until: datetime | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as compute

    kind = rows.schema.field("time").type
    if since is not None:
        rows = rows.filter(compute.greater_equal(rows["time"], pa.scalar(since, kind)))
    if until is not None:
        rows = rows.filter(compute.less(rows["time"], pa.scalar(until, kind)))
    return rows


def _as(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [
        rows[field.name].cast(field.type)
        if field.name in rows.schema.names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _damaged(part: Path, fault: Exception) -> LearnLoopError:
    return LearnLoopError(
        "A part of the prediction log cannot be read.",
        where=part,
        expected="Parquet",
        received=fault,
        next="restore it from a backup, or move it away",
    )
