"""What happened: runs, executions, artifacts and lineage, on SQLite or PostgreSQL.

The ledger is also the cache's index: an execution that is ``done`` under a key is what a later step
with the same key may reuse. Each method is one short transaction, so that concurrent runs and
processes are safe. Learner data never comes here.
"""

from __future__ import annotations

from learnloop.ledger.ledger import Ledger
from learnloop.ledger.opening import SCHEMA_REVISION, open_ledger
from learnloop.ledger.records import ArtifactRecord, ExecutionRecord, RunRecord

__all__ = [
    "SCHEMA_REVISION",
    "ArtifactRecord",
    "ExecutionRecord",
    "Ledger",
    "RunRecord",
    "open_ledger",
]
