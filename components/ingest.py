"""Bring data in: a source in a known layout becomes raw tables, and a table of what was refused."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from components.engines.readers import Options, Rejects, digest_source, open_source
from components.engines.readers.ahead import read_ahead
from feature_store.erased import erased_state, load_erased
from learnloop.artifacts import Records
from learnloop.component import Context, Output, Resources, component
from learnloop.errors import GateRefused, UsageError
from learnloop.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

QUARANTINE = "rejected"
"""The table of the quarantine: ``table``, ``file``, ``line``, ``reason``, ``text``."""


def resolve_source(parameters: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Tell what the source holds now and who was erased, which enters the cache key.

    Args:
        parameters: The step's parameters.
        settings: Names the ledger, which knows who was erased.
    """
    found = digest_source(parameters["source"], parameters["layout"])
    return {**found, **erased_state(settings)}


@component(resolve=resolve_source, resources=Resources(memory_gib=2.0, retries=2))
def ingest(
    records: Output[Records],
    quarantine: Output[Records],
    *,
    source: str,
    layout: str,
    types: dict[str, str] | None = None,
    key: tuple[str, ...] = (),
    max_rejected: float = 0.01,
    context: Context,
) -> None:
    """Read a source into raw tables, and set rows aside that cannot be read.

    Rows of people who were erased are left out, whatever the source still has of them.

    Args:
        records: The accepted rows, by table, in the order of the source.
        quarantine: One table ``rejected``: each refused row's table, file, 1-based line, reason
            and the first 200 characters of its text.
        source: A path, ``s3://bucket/prefix``, or for the layout ``sql`` a connection's name,
            optionally with ``#table,table``.
        layout: ``csv``, ``events``, ``knowledge_tracing``, ``oulad``, ``parquet`` or ``sql``.
        types: For ``csv``: Arrow types by column, for columns that should not be inferred.
        key: For ``csv``, ``parquet`` and ``sql``: columns that name a row, in tables that have
            them all; a later row with the same values is refused.
        max_rejected: The largest share of a table's rows that may be refused, 0 to 1.
        context: Progress, and scratch space for downloads.

    Raises:
        UsageError: The source is not there, not in this layout, or holds no rows.
        GateRefused: Too many rows of a table were refused.
    """
    if not 0 <= max_rejected <= 1:
        raise UsageError(
            "max_rejected is a share of the rows.",
            where="parameter 'max_rejected'",
            expected="0 to 1",
            received=max_rejected,
        )
    options = Options(types=types or {}, key=key)
    tables = open_source(source, layout, scratch=context.scratch, options=options)
    spool = context.scratch / "rejects.arrow"
    erased = load_erased(context.settings)
    with Rejects(spool, erased.are_named_in if erased else None) as rejects:
        for table in tables:
            batches = table.read(rejects)
            if erased:
                batches = map(erased.without, batches)
            batches = _counted(batches, table.name, context)
            records.write(table.name, batches, schema=table.schema)
    refused = rejects.counts
    quarantine.write(QUARANTINE, rejects.batches(), schema=rejects.schema)
    quarantine.describe(reasons={name: rejects.reasons(name) for name in refused})
    spool.unlink()
    if not sum(records.counts.values()) + sum(refused.values()):
        raise UsageError(
            "The source holds no rows.",
            where=source,
            expected="at least one row beside the header",
            received="none in " + ", ".join(records.names),
        )
    reasons = [
        _refusal(name, count, records.counts[name] + count, rejects, max_rejected)
        for name, count in refused.items()
        if count > max_rejected * (records.counts[name] + count)
    ]
    if reasons:
        raise GateRefused(
            reasons,
            where=source,
            next="mend the rows listed in the quarantine, or raise max_rejected",
        )


def _counted(
    batches: Iterator[pa.RecordBatch], table: str, context: Context
) -> Iterator[pa.RecordBatch]:
    """Tell how many rows were accepted so far, and how fast."""
    start, done = time.monotonic(), 0
    for batch in read_ahead(batches):
        yield batch
        done += batch.num_rows
        elapsed = max(time.monotonic() - start, 1e-3)
        context.report(f"read {table}", done=done, rows_per_second=done / elapsed)


def _refusal(name: str, count: int, total: int, rejects: Rejects, allowed: float) -> str:
    detail = "; ".join(f"{reason}: {rows:,}" for reason, rows in rejects.reasons(name).items())
    return (
        f"{count:,} of {total:,} rows of '{name}' cannot be read, at most {allowed:.1%} may be "
        f"({detail})."
    )
