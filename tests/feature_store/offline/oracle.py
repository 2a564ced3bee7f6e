"""What the joins must answer, said as plainly as can be: look at every row, take the last.

A case is a few rows of a source and a few entity rows. Times are whole numbers of hours after
:data:`START`, so that ties and exact ends of a TTL are frequent; None is a null.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from feature_store.definitions import FeatureView
from feature_store.fields import Entity, FeatureType, Field
from feature_store.gathering import gather
from feature_store.offline.joining import Cut
from feature_store.sources import ParquetSource
from feature_store.store import FeatureStore
from learnloop.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")
KEY_TYPES = {int: (FeatureType.INT64, pa.int64()), str: (FeatureType.STRING, pa.string())}

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Row:
    """A row of the source: the values are ``row``, its position, and ``value``."""

    key: Key
    event: int | None
    created: int | None
    value: float | None


@dataclass(frozen=True)
class EntityRow:
    key: Key
    asked: int | None


def right_answer(
    rows: Sequence[Row], entity: EntityRow, ttl: int | None, cut: Cut, is_recorded: bool
) -> tuple[int | None, float | None]:
    """Give the position and the value of the row that answers."""
    best: tuple[tuple[int, float, int], Row] | None = None
    for position, row in enumerate(rows):
        if entity.asked is None or row.key != entity.key or None in row.key or row.event is None:
            continue
        if row.event > entity.asked:
            continue
        is_cut = is_recorded and cut is Cut.KNOWLEDGE
        if is_cut and (row.created is None or row.created > entity.asked):
            continue
        if ttl is not None and entity.asked - row.event > ttl:
            continue
        created = row.created if is_recorded and row.created is not None else float("-inf")
        rank = (row.event, created, position)
        if best is None or rank > best[0]:
            best = rank, row
    return (best[0][2], best[1].value) if best else (None, None)


def joined(
    folder: Path,
    rows: Sequence[Row],
    entities: Sequence[EntityRow],
    *,
    kinds: Sequence[type],
    ttl: int | None = None,
    cut: Cut = Cut.KNOWLEDGE,
    is_recorded: bool = True,
    cuts: Sequence[int] = (),
    group_rows: int = 1000,
    time: pa.DataType = TIME,
) -> list[tuple[int | None, float | None]]:
    """Have the feature store answer a case.

    Args:
        folder: For the source's files.
        rows: The source.
        entities: The entity rows.
        kinds: The types of the join keys: int or str.
        ttl: The view's TTL in hours.
        cut: What of the past may be seen.
        is_recorded: Whether the source has a recorded time.
        cuts: Where the source is cut into files.
        group_rows: Rows in a row group.
        time: The type of the times.
    """
    names = [f"key_{place}" for place in range(len(kinds))]
    source = pa.table(
        {
            **_keys(names, kinds, [row.key for row in rows]),
            "happened": _times([row.event for row in rows], time),
            **({"recorded": _times([row.created for row in rows], time)} if is_recorded else {}),
            "row": pa.array(range(len(rows)), pa.int64()),
            "value": pa.array([row.value for row in rows], pa.float64()),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    ends = [0, *sorted(cuts), len(rows)]
    for number, (low, high) in enumerate(itertools.pairwise(ends)):
        part = source.slice(low, high - low)
        file = folder / f"{number:03d}.parquet"
        parquet.write_table(part, file, row_group_size=group_rows, version="2.6")
    fields = tuple(Field(name, KEY_TYPES[kind][0]) for name, kind in zip(names, kinds, strict=True))
    view = FeatureView(
        "results",
        entities=(Entity("someone", fields),),
        schema=(Field("row", FeatureType.INT64), Field("value", FeatureType.FLOAT64)),
        source=ParquetSource("results", str(folder), "happened", "recorded" if is_recorded else ""),
        ttl=None if ttl is None else timedelta(hours=ttl),
    )
    store = FeatureStore(Settings(home=folder / "home"), gather([view]))
    store.apply()
    asked = pa.table(
        {
            **_keys(names, kinds, [entity.key for entity in entities]),
            "event_timestamp": _times([entity.asked for entity in entities], time),
            "place": range(len(entities)),
        }
    )
    answer = store.get_historical_features(asked, [view], cut=cut).to_arrow()
    assert answer["place"].to_pylist() == list(range(len(entities)))
    return list(zip(answer["row"].to_pylist(), answer["value"].to_pylist(), strict=True))


def _keys(names: Sequence[str], kinds: Sequence[type], keys: Sequence[Key]) -> dict[str, pa.Array]:
    return {
        name: pa.array([key[place] for key in keys], KEY_TYPES[kinds[place]][1])
        for place, name in enumerate(names)
    }


def _times(hours: Sequence[int | None], time: pa.DataType) -> pa.Array:
    moments = [None if hour is None else START + timedelta(hours=hour) for hour in hours]
    return pa.array(moments, TIME).cast(time)
