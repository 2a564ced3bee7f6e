"""A tiny exported model, made without training, and rows for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.engines.training.signature import RawColumn
from learnloop.artifacts import Blessing, Examples, Model

SCORE = RawColumn("score", "float32", ())
COURSE = RawColumn("course", "string", ())
STEPS = RawColumn("steps", "int64", (None,), -1)


def write_model(folder: Path, columns: tuple[RawColumn, ...] = (COURSE, SCORE)) -> Model:
    """Write a Model whose probability is ``sigmoid((score - 60) / 15)``, one half less in logic.

    With ``STEPS`` it adds a tenth of their sum, and has nothing to say of a row without any.
    """
    import tensorflow as tf

    model = Model.create(folder)

    def answer(**raw: Any) -> dict[str, Any]:
        logit = (raw["score"] - 60.0) / 15.0
        if "course" in raw:
            logit -= tf.where(raw["course"] == b"logic", 0.5, 0.0)
        probability = tf.sigmoid(logit)
        if "steps" in raw:
            real = raw["steps"] >= 0
            sums = tf.reduce_sum(tf.where(real, raw["steps"], 0), axis=1)
            probability = tf.sigmoid(logit + tf.cast(sums, tf.float32) / 10.0)
            probability = tf.where(tf.reduce_any(real, axis=1), probability, -1.0)
        return {"probability": probability}

    specs = {column.name: column.tensor_spec() for column in columns}
    module = tf.Module()
    module.call = tf.function(answer).get_concrete_function(**specs)
    tf.saved_model.save(module, str(model.saved_model), {"serving_default": module.call})
    signature = {"inputs": [column.to_json() for column in columns]}
    (model.path / "training.json").write_text(json.dumps({"signature": signature}))
    return model


def write_examples(folder: Path, rows: int = 200) -> Examples:
    """Write examples with the model's columns and an id."""
    examples = Examples.create(folder)
    for split in ("train", "test"):
        examples.write(split, table(rows))
    return examples


def table(rows: int) -> pa.Table:
    """Rows that differ."""
    numbers = np.arange(rows)
    return pa.table(
        {
            "learner": [f"learner-{number}" for number in numbers],
            "score": (numbers % 100).astype(np.float64),
            "course": np.where(numbers % 3 == 0, "logic", "algebra"),
            "steps": [list(range(number % 4)) for number in numbers],
        }
    )


def write_blessing(folder: Path, *reasons: str) -> Blessing:
    """Write the verdict of the gate before."""
    blessing = Blessing.create(folder)
    blessing.write({"blessed": not reasons, "reasons": list(reasons), "warnings": []})
    return blessing
