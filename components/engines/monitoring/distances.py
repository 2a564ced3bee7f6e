"""How far the present lies from a reference, column by column, with the counts that say so.

A number's bins are the reference's deciles; a text's are the reference's most common values. What
is missing has a bin of its own, so that a column that falls silent is a column that moved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FORMULA = "H((p + q) / 2) - (H(p) + H(q)) / 2 in bits, over the bins"
BINS = 10
VALUES = 20
MISSING = "missing"
OTHER = "other"


@dataclass(frozen=True)
class Distance:
    """The Jensen-Shannon divergence of two samples of a column.

    Args:
        column: The column.
        bins: What each bin holds, for people.
        reference: Rows of the reference in each bin.
        current: Rows of the present in each bin.
    """

    column: str
    bins: tuple[str, ...]
    reference: tuple[int, ...]
    current: tuple[int, ...]

    @property
    def value(self) -> float:
        """0 for equal shares, 1 for nothing in common."""
        p, q = _shares(self.reference), _shares(self.current)
        return max(0.0, _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2)

    @property
    def chance(self) -> float:
        """The value to be expected of equal distributions, from the sizes of the samples.

        To second order the divergence is (1 / 8) * sum((p - q)^2 / ((p + q) / 2)) nats, whose
        expectation for independent rows is (bins - 1) / 8 * (1 / n + 1 / m).
        """
        used = sum(1 for pair in zip(self.reference, self.current, strict=True) if any(pair))
        sizes = 1 / max(1, sum(self.reference)) + 1 / max(1, sum(self.current))
        return max(1, used - 1) / 8 * sizes / math.log(2)

    @property
    def clear_of_chance(self) -> float:
        """How far the value lies beyond what one in twenty pairs of equal distributions exceed.

        By the same approximation the value is a multiple of a chi-squared variable, whose 95th
        percentile is about twice its mean for the ten bins of a column.
        """
        return self.value - 2 * self.chance

    def to_json(self) -> dict[str, Any]:
        """Tell everything, so that the figure can be checked by hand."""
        return {
            "column": self.column,
            "formula": FORMULA,
            "value": self.value,
            "chance": self.chance,
            "bins": list(self.bins),
            "reference": list(self.reference),
            "current": list(self.current),
        }


def measure_columns(
    reference: pa.Table, current: pa.Table, columns: tuple[str, ...]
) -> dict[str, Distance]:
    """Measure several columns; see :func:`measure_column`.

    Args:
        reference: What the present is held against.
        current: The present.
        columns: Which columns of both.

    Returns:
        The distance by column.
    """
    return {name: measure_column(name, reference[name], current[name]) for name in columns}


def measure_column(column: str, reference: pa.ChunkedArray, current: pa.ChunkedArray) -> Distance:
    """Count both samples of a column into bins made from the first.

    Args:
        column: Its name.
        reference: Numbers, booleans or text, or sequences of them; at least one value.
        current: The same kind.

    Returns:
        The distance.
    """
    import pyarrow as pa

    reference, current = _single(reference), _single(current)
    kind = reference.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        labels, counts = _count_texts(reference, current)
    else:
        labels, counts = _count_numbers(_numbers(reference), _numbers(current))
    return Distance(column, labels, tuple(counts[0].tolist()), tuple(counts[1].tolist()))


def _single(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take sequences apart into their values, the padding of texts left out."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_list(values.type):
        values = compute.list_flatten(values)
        if pa.types.is_string(values.type):
            values = values.filter(compute.not_equal(values, ""))
    return values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values


def _numbers(values: pa.ChunkedArray) -> NDArray[np.float64]:
    import pyarrow as pa

    numbers: NDArray[np.float64] = values.cast(pa.float64()).to_numpy()
    return numbers


def _count_numbers(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    known = reference[~np.isnan(reference)]
    if len(np.unique(known)) <= BINS:
        values = np.unique(known)
        edges = (values[1:] + values[:-1]) / 2
        labels = [f"{value:.4g}" for value in values]
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
        bounds = [f"{edge:.4g}" for edge in edges]
        labels = [
            f"below {bounds[0]}",
            *(f"{low} to {high}" for low, high in pairwise(bounds)),
            f"from {bounds[-1]}",
        ]
    labels = labels or ["any"]
    rows = []
    for sample in (reference, current):
        is_missing = np.isnan(sample)
        places = np.searchsorted(edges, sample[~is_missing], side="right")
        counts = np.bincount(places, minlength=len(labels))
        rows.append(np.append(counts, is_missing.sum()))
    return (*labels, MISSING), np.stack(rows)


def _count_texts(
    reference: pa.ChunkedArray, current: pa.ChunkedArray
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    first, second = _count_values(reference), _count_values(current)
    common = sorted(first, key=lambda value: (-first[value], value))[:VALUES]
    rows = []
    for counts, sample in ((first, reference), (second, current)):
        known = [counts.get(value, 0) for value in common]
        other = len(sample) - sample.null_count - sum(known)
        rows.append([*known, other, sample.null_count])
    return (*common, OTHER, MISSING), np.array(rows, np.int64)


def _count_values(values: pa.ChunkedArray) -> Mapping[str, int]:
    from pyarrow import compute

    counted = compute.value_counts(values.drop_null())
    return dict(
        zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    )


def _shares(counts: tuple[int, ...]) -> NDArray[np.float64]:
    return np.array(counts, float) / max(1, sum(counts))


def _entropy(shares: NDArray[np.float64]) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log2(some)).sum())
