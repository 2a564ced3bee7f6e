"""Score many rows at once, without a server: examples, or a folder of Parquet files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from learnloop.artifacts import Examples, Model, Records
from learnloop.component import Context, Input, Output, Resources, component
from learnloop.errors import UsageError, closest
from learnloop.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

LAYOUT = "parquet"


def resolve_rows(arguments: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Tell what the source holds now, which enters the cache key.

    Args:
        arguments: The step's arguments.
        settings: Not needed: a path is relative to the project's root.
    """
    from components.engines.readers import digest_source

    return digest_source(arguments["source"], LAYOUT) if arguments["source"] else {}


@component(resolve=resolve_rows, resources=Resources(cpus=2.0, memory_gib=4.0))
def bulk_infer(
    model: Input[Model],
    examples: Input[Examples] | None,
    predictions: Output[Records],
    *,
    source: str = "",
    ids: tuple[str, ...] = (),
    batch_rows: int = 16_384,
    context: Context,
) -> None:
    """Ask a model for the score of every row, batch by batch.

    Args:
        model: The model; its SavedModel takes raw columns.
        examples: Rows by split; or
        predictions: By split or table, the columns ``ids`` and ``score``, in the order of the rows.
        source: a Parquet file, a folder of them (a table a file or a folder of parts), or
            ``s3://bucket/prefix``.
        ids: Columns that name the rows, kept beside the score.
        batch_rows: Rows in memory at once.
        context: Progress: rows so far and rows a second.

    Raises:
        UsageError: There is no source or two, or a column is missing or does not fit the model.
    """
    from components.engines.bulk import BulkModel, scored

    if (examples is None) == (not source):
        raise UsageError(
            "It is not clear which rows to score.",
            where="bulk_infer",
            expected="examples, or a source",
            received="both" if source else "neither",
        )
    if "score" in ids:
        raise UsageError(
            "A column that is kept cannot be called as the score is.",
            where="parameter 'ids'",
            expected="other columns than 'score'",
            received=", ".join(ids),
        )
    asked = BulkModel(model.path)
    wanted = sorted({*(column.name for column in asked.columns), *ids})
    for table, schema, batches in _tables(examples, source, batch_rows, wanted, context):
        kept = [*(schema.field(name) for name in ids), _score()]
        predictions.write(table, scored(asked, _told(batches, table, context), ids), _schema(kept))


def _tables(
    examples: Examples | None, source: str, batch_rows: int, wanted: list[str], context: Context
) -> Iterator[tuple[str, pa.Schema, Iterator[pa.RecordBatch]]]:
    """Open every split or table; what is not wanted is not read where that can be helped."""
    if examples is not None:
        for split in examples.names:
            schema = examples.schema(split)
            _require(schema.names, wanted, f"split {split}")
            yield split, schema, examples.batches(split, batch_rows, wanted)
        return
    from components.engines.readers import Rejects, open_source

    tables = open_source(source, LAYOUT, scratch=context.scratch)
    for table in tables:
        _require(table.schema.names, wanted, f"table {table.name}")
    # Without a key and without columns that may not be null, no row is ever set aside.
    with Rejects(context.scratch / "rejects.arrow") as rejects:
        for table in tables:
            yield table.name, table.schema, _cut(table.read(rejects), batch_rows)


def _require(known: list[str], wanted: list[str], where: str) -> None:
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"The rows have no column '{name}'.",
                where=where,
                expected=closest(name, known),
                received=repr(name),
            )


def _cut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _told(
    batches: Iterator[pa.RecordBatch], table: str, context: Context
) -> Iterator[pa.RecordBatch]:
    """Tell how many rows are scored so far, and how fast."""
    began, done = time.monotonic(), 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        elapsed = max(time.monotonic() - began, 1e-3)
        context.report(f"scored {table}", done=done, rows_per_second=done / elapsed)


def _score() -> pa.Field:
    import pyarrow as pa

    return pa.field("score", pa.float64())


def _schema(fields: list[pa.Field]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(fields)
