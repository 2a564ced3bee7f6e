"""Packed rows with one number in them, for tests that care about stores and not about values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from feature_store.fields import FeatureType, Field
from feature_store.online.packing import RowSchema, pack_rows
from feature_store.online.rows import RowReader
from feature_store.online.store import Materialization, OnlineStore, Row, ViewState

SCHEMA = RowSchema((("value", FeatureType.INT64),))
READER = RowReader(SCHEMA, [Field("value", FeatureType.INT64)], ["value"], "activity")
VIEW = "activity"


def key(learner: int, skill: int = 0) -> bytes:
    """A key of two parts."""
    return learner_part(learner) + skill_part(skill)


def learner_part(learner: int) -> bytes:
    """The part of a key that tells the learner."""
    return b"learner".ljust(8) + learner.to_bytes(8, "big")


def skill_part(skill: int) -> bytes:
    """The part of a key that tells the skill."""
    return b"skill".ljust(8) + skill.to_bytes(8, "big")


def packed(value: int, happened: int = 0, created: int = 0) -> bytes:
    """A row with a value."""
    return packed_rows([value], happened, created)[0]


def packed_rows(values: Sequence[int], happened: int = 0, created: int = 0) -> list[bytes]:
    """Rows with a value each and the same times."""
    times = np.full(len(values), happened, np.int64), np.full(len(values), created, np.int64)
    return pack_rows(SCHEMA, {"value": pa.array(values, pa.int64())}, *times)


def numbered(learners: Sequence[int], value: int, happened: int = 0) -> list[Row]:
    """A row with one value for each of some learners."""
    rows = packed_rows([value] * len(learners), happened)
    return [(key(learner), row) for learner, row in zip(learners, rows, strict=True)]


def values(rows: Sequence[bytes | None]) -> list[int | None]:
    """The values in rows, None for no row."""
    return [None if row is None else READER.one(row)[0] for row in rows]


def read(store: OnlineStore, learners: Sequence[int], view: str = VIEW) -> list[int | None]:
    """The values that a store has for learners."""
    (rows,) = store.read([(view, [key(learner) for learner in learners])])
    return values(rows)


def materialize(
    store: OnlineStore,
    rows: Sequence[Row] = (),
    *,
    view: str = VIEW,
    watermark: int = 0,
    schema: RowSchema = SCHEMA,
) -> ViewState:
    """Add rows to a view as a whole."""
    after = ViewState(schema.fingerprint.hex(), watermark)
    store.materialize(Materialization(view, schema, store.state(view), after), [rows])
    return after


def newest(rows: Sequence[tuple[int, int, int]]) -> Mapping[int, int]:
    """The newest happening of each learner in triples of learner, happening, value."""
    found: dict[int, tuple[int, int]] = {}
    for learner, happened, value in rows:
        if learner not in found or happened >= found[learner][0]:
            found[learner] = (happened, value)
    return {learner: value for learner, (_, value) in found.items()}
