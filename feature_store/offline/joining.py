"""Joining entity rows with one view: find the rows that answer, then read their features.

The first pass over the source reads join keys and times alone, the second the features asked for.
What answers is said in ``history.py``, how it is found in ``moments.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from feature_store.definitions import FeatureView
from feature_store.fields import Field
from feature_store.offline.matching import KeyIndex
from feature_store.offline.moments import EARLIEST, NOBODY, Moments, Numbers, Offers
from feature_store.offline.reading import Batch, SourceChanged, SourceReader, as_numbers
from feature_store.offline.sharing import share

ATTEMPTS = 5
"""How often a join begins anew when its source is compacted meanwhile."""


class Cut(StrEnum):
    """What of the past may be seen."""

    KNOWLEDGE = "knowledge"
    """What had happened and had been recorded by the moment asked about."""
    EVENT = "event"
    """What had happened by then, though it was recorded later: a leak in training data."""


def join_view(
    view: FeatureView,
    fields: tuple[Field, ...],
    keys: list[pa.Array],
    moments: pa.Array,
    cut: Cut,
) -> dict[str, Any]:
    """Look up features of one view.

    Args:
        view: The view.
        fields: The features.
        keys: The join keys of the entity rows, of the view's types and in its order.
        moments: The moments asked about: timestamps.
        cut: What of the past may be seen.

    Returns:
        The features by name, a value for each entity row.

    Raises:
        UsageError: The source does not fit the view.
        SourceChanged: The source changes each time it is read.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with SourceReader(view) as reader:
                answers = _find_answers(reader, keys, moments, cut)
                return _gather(reader, fields, answers)
        except SourceChanged:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _find_answers(reader: SourceReader, keys: list[pa.Array], asked: pa.Array, cut: Cut) -> Numbers:
    """Find the position in the source of the row that answers each entity row; -1 for none."""
    unit = "ns" if "ns" in (reader.unit, asked.type.unit) else "us"
    index = KeyIndex(keys)
    moments = Moments(
        index.codes,
        _filled(as_numbers(asked, unit), 0),
        asked.is_valid().to_numpy(zero_copy_only=False),
        index.count,
        _ttl(reader.view, unit),
    )

    def look_through(batches: Iterator[Batch]) -> Offers:
        offers = Offers(moments)
        for first, found, times in batches:
            codes = index.find(found)
            for time in times[: 1 if cut is Cut.EVENT else 2]:
                if time.null_count:
                    codes[time.is_null().to_numpy(zero_copy_only=False)] = NOBODY
            event, created = _filled(times[0], EARLIEST), _filled(times[-1], EARLIEST)
            counts = event if cut is Cut.EVENT else np.maximum(event, created)
            offers.add(first, codes, event, created, counts)
        return offers

    batches = reader.read(reader.view.join_keys, times=unit, coded=True)
    return moments.answers(share(batches, look_through))


def _gather(reader: SourceReader, fields: tuple[Field, ...], answers: Numbers) -> dict[str, Any]:
    """Read the features of the rows that answer."""
    wanted, places = np.unique(answers[answers >= 0], return_inverse=True)
    parts: list[list[pa.Array]] = [[pa.array([], field.dtype.arrow)] for field in fields]
    for first, columns, _ in reader.read(fields):
        low = int(np.searchsorted(wanted, first))
        high = int(np.searchsorted(wanted, first + len(columns[0])))
        if low < high:
            rows = pa.array(wanted[low:high] - first)
            for part, column in zip(parts, columns, strict=True):
                part.append(column.take(rows))
    take = np.zeros(len(answers), np.int64)
    take[answers >= 0] = places
    rows = pa.array(take, mask=answers < 0)
    return {
        field.name: pa.concat_arrays(part).take(rows)
        for field, part in zip(fields, parts, strict=True)
    }


def _ttl(view: FeatureView, unit: str) -> int | None:
    if view.ttl is None:
        return None
    return view.ttl // timedelta(microseconds=1) * (1_000 if unit == "ns" else 1)


def _filled(numbers: pa.Array, value: int) -> Numbers:
    filled: Numbers = (numbers.fill_null(value) if numbers.null_count else numbers).to_numpy()
    return filled
