"""A training in a process of its own, for the test that kills it: `python resumed.py SCRATCH`.

It checkpoints after every epoch, prints each epoch's number and at the end the weights' digest.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from components.engines.training import checkpoint
from components.engines.training.digest import digest_weights
from components.engines.training.features import describe_features
from components.engines.training.fit import Recipe, build, fit
from components.engines.training.packing import pack
from tests.components.engines.training.models import dense_model, rows_table

RECIPE = Recipe(epochs=12, batch_size=32, patience=12, monitor="auc", schedule="cosine")


def training(scratch: Path | None, report) -> str:
    """Train with dropout, whose random state must survive too; return the weights' digest."""
    table = rows_table(400)
    features = describe_features(table.schema, ["failed"])
    model = build(lambda: dense_model(features, dropout=0.3), seed=7)
    train, validation = (pack(part, label="failed") for part in (table, rows_table(100, seed=1)))
    fit(model, train, validation, RECIPE, scratch=scratch, report=report)
    return digest_weights(model)


def _report(epoch) -> None:
    print("epoch", epoch.epoch, flush=True)
    time.sleep(0.05)


if __name__ == "__main__":
    checkpoint.SECONDS_BETWEEN = 0.0
    print("digest", training(Path(sys.argv[1]), _report), flush=True)
