"""Readers: a source of learner data becomes named Arrow tables, and a table of what was refused.

A *source* is where bytes lie (a local file or folder, ``s3://bucket/prefix``, a named SQL
connection); a *layout* is how they are arranged (``csv``, ``events``, ``parquet``, ``oulad``,
``knowledge_tracing``, ``sql``). :func:`open_source` joins the two into
:class:`~components.engines.readers.tables.SourceTable` values, each a schema and a stream of record
batches. A row that cannot be read goes to
:class:`~components.engines.readers.rejects.Rejects` with its line number and the reason: what was
read is what was accepted plus what was rejected. Memory is bounded by a few blocks of input.

:func:`digest_source` tells what a source holds now, for the cache key, without parsing it.
"""

from components.engines.readers.rejects import REJECTS_COLUMNS, Rejects
from components.engines.readers.source import LAYOUTS, digest_source, open_source
from components.engines.readers.tables import Options, SourceTable

__all__ = [
    "LAYOUTS",
    "REJECTS_COLUMNS",
    "Options",
    "Rejects",
    "SourceTable",
    "digest_source",
    "open_source",
]
