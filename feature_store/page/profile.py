"""What the newest rows of a view are like: how each feature is spread, and how old its values are.

Only sums over many keys are told: quantiles from the 1st to the 99th percentile in place of the
least and the greatest, words that several have, and nothing at all of a handful of keys.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from feature_store.definitions import FeatureView
from feature_store.fields import FeatureType, Field, Sensitivity
from feature_store.offline.latest import CREATED, EVENT, MEMORY, latest_rows

if TYPE_CHECKING:
    import duckdb

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
MOST_BARS = 24
MOST_WORDS = 8
LEAST_KEYS = 10
"""Words that fewer keys than this have are not shown, and nothing of features that fewer have."""

_FLOATS = (FeatureType.FLOAT32, FeatureType.FLOAT64)
_MEASURES: Mapping[FeatureType, tuple[str, str]] = {
    FeatureType.INT32: ("{}", ""),
    FeatureType.INT64: ("{}", ""),
    FeatureType.FLOAT32: ("{}", ""),
    FeatureType.FLOAT64: ("{}", ""),
    FeatureType.TIMESTAMP: ("epoch({})", ""),
    FeatureType.BYTES: ("octet_length({})", "length in bytes"),
    FeatureType.INT64_LIST: ("len({})", "elements"),
    FeatureType.FLOAT32_LIST: ("len({})", "elements"),
    FeatureType.STRING_LIST: ("len({})", "elements"),
}
"""How values of a type become numbers, and what these are if not the values themselves."""


@dataclass(frozen=True)
class Bar:
    """How many keys have a value, or one of a span.

    Args:
        name: The value or the span.
        keys: How many keys.
    """

    name: str
    keys: int


@dataclass(frozen=True)
class Distribution:
    """How a feature is spread over the newest rows.

    Args:
        field: The feature.
        missing: The share of keys without a value, or with one that is not finite.
        quantiles: The values at :data:`QUANTILES`, as text; none for words.
        bars: How many keys have what.
        note: What is to be known of it.
    """

    field: Field
    missing: float
    quantiles: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Profile:
    """The newest rows of a view.

    Args:
        keys: How many there are: one for each key.
        newest: When the newest came to hold; None if there are none.
        happened: How many came to hold when.
        ages: Seconds since the newest row of half of the keys, and of 95 in 100, came to hold.
        lags: Seconds until half of the rows, and 95 in 100, were recorded; none where the source
            does not tell.
        expired: The share of keys whose newest row holds no more.
        distributions: The features.
    """

    keys: int
    newest: datetime | None
    happened: tuple[Bar, ...]
    ages: tuple[float, ...]
    lags: tuple[float, ...]
    expired: float
    distributions: tuple[Distribution, ...]


def profile_view(view: FeatureView, now: datetime) -> Profile:
    """Look at the newest row of every key.

    Args:
        view: The view.
        now: Nothing recorded later is looked at.

    Returns:
        What the rows are like.

    Raises:
        UsageError: The source does not fit.
        SourceChanged: The source was compacted meanwhile: try again.
    """
    import duckdb
    from pyarrow import parquet

    with tempfile.TemporaryDirectory(prefix="features-") as scratch, duckdb.connect() as connection:
        file = f"{scratch}/newest.parquet"
        with (
            latest_rows(view, None, now) as batches,
            parquet.ParquetWriter(file, batches.schema) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)
        connection.execute(f"SET memory_limit = '{MEMORY}'; SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = '{scratch}'")
        connection.execute(f"CREATE VIEW newest AS FROM '{file}'")
        return _Profiler(connection, view, now).profile()


class _Profiler:
    """Asks a table of newest rows."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, view: FeatureView, now: datetime
    ) -> None:
        self._connection = connection
        self._view = view
        self._now = int(now.timestamp() * 1_000_000)
        (self._keys,) = self._one("count(*)")

    def profile(self) -> Profile:
        distributions = tuple(self._distribution(field) for field in self._view.schema)
        if not self._keys:
            return Profile(0, None, (), (), (), 0.0, distributions)
        (newest,) = self._one(f"max({EVENT})")
        seconds = f"{EVENT} / 1000000"
        lags: tuple[float, ...] = ()
        if self._view.stored_source.created_timestamp_column:
            lags = self._quantiles(f"({CREATED} - {EVENT}) / 1000000", (0.5, 0.95))
        return Profile(
            keys=self._keys,
            newest=datetime.fromtimestamp(newest / 1_000_000, UTC),
            happened=self._histogram(seconds, FeatureType.TIMESTAMP),
            ages=self._quantiles(f"({self._now} - {EVENT}) / 1000000", (0.5, 0.95)),
            lags=lags,
            expired=self._expired(),
            distributions=distributions,
        )

    def _distribution(self, field: Field) -> Distribution:
        missing = self._missing(field)
        if self._keys * (1 - missing) < LEAST_KEYS:
            return Distribution(field, missing, note=f"fewer than {LEAST_KEYS} keys have a value")
        if field.sensitivity is Sensitivity.IDENTIFIER:
            return Distribution(field, missing, note="identifiers are not shown")
        if field.dtype in _MEASURES:
            form, note = _MEASURES[field.dtype]
            measure = form.format(f'"{field.name}"')
            values = self._quantiles(measure, QUANTILES)
            told = tuple(_told(value, field.dtype) for value in values)
            return Distribution(field, missing, told, self._histogram(measure, field.dtype), note)
        return Distribution(field, missing, bars=self._words(field))

    def _missing(self, field: Field) -> float:
        is_there = f'"{field.name}" IS NOT NULL'
        if field.dtype in (FeatureType.FLOAT32, FeatureType.FLOAT64):
            is_there += f' AND isfinite("{field.name}")'
        (there,) = self._one(f"count(*) FILTER ({is_there})")
        return 1 - there / self._keys if self._keys else 0.0

    def _expired(self) -> float:
        if self._view.ttl is None:
            return 0.0
        first = self._now - self._view.ttl // timedelta(microseconds=1)
        (expired,) = self._one(f"count(*) FILTER ({EVENT} < {first})")
        return float(expired / self._keys)

    def _quantiles(self, measure: str, shares: tuple[float, ...]) -> tuple[float, ...]:
        wanted = ", ".join(map(str, shares))
        (found,) = self._one(f"quantile_cont(value, [{wanted}])", _values(measure))
        return tuple(found)

    def _histogram(self, measure: str, dtype: FeatureType) -> tuple[Bar, ...]:
        """Count between the 1st and the 99th percentile; what lies outside is in the end bars."""
        low, *_, high = self._quantiles(measure, QUANTILES)
        count, step = MOST_BARS, (high - low) / MOST_BARS
        if _is_whole(dtype):
            low, high = math.floor(low), math.ceil(high)
            step = math.ceil((high - low + 1) / MOST_BARS)
            count = math.ceil((high - low + 1) / step)
        if not step:
            return (Bar(_told(low, dtype), self._keys_with(measure)),)
        place = f"least(greatest(floor((value - {low!r}) / {step!r}), 0), {count - 1})::INTEGER"
        found = dict(self._all(f"{place}, count(*)", f"{_values(measure)} GROUP BY 1"))
        return tuple(
            Bar(_span(float(low + place * step), step, dtype), found.get(place, 0))
            for place in range(count)
        )

    def _keys_with(self, measure: str) -> int:
        (keys,) = self._one("count(*)", _values(measure))
        return int(keys)

    def _words(self, field: Field) -> tuple[Bar, ...]:
        name = f'"{field.name}"'
        found = self._all(
            f"{name}::VARCHAR, count(*)",
            f"newest WHERE {name} IS NOT NULL GROUP BY 1 HAVING count(*) >= {LEAST_KEYS}"
            f" ORDER BY 2 DESC, 1 LIMIT {MOST_WORDS}",
        )
        (there,) = self._one(f"count({name})")
        bars = tuple(Bar(word, keys) for word, keys in found)
        others = there - sum(bar.keys for bar in bars)
        return (*bars, Bar("others", others)) if others else bars

    def _one(self, chosen: str, place: str = "newest") -> tuple[Any, ...]:
        (row,) = self._all(chosen, place)
        return row

    def _all(self, chosen: str, place: str) -> list[tuple[Any, ...]]:
        # Every word of it is written here, but for the names of fields, which are checked.
        query = f"SELECT {chosen} FROM {place}"  # noqa: S608
        rows: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        return rows


def _values(measure: str) -> str:
    """The finite values of a measure, as the column ``value``."""
    return (
        f"(SELECT ({measure})::DOUBLE AS value FROM newest"  # noqa: S608
        f" WHERE ({measure}) IS NOT NULL AND isfinite(({measure})::DOUBLE))"
    )


def _told(value: float, dtype: FeatureType) -> str:
    if dtype is FeatureType.TIMESTAMP:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}"
    if value.is_integer() or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _span(low: float, step: float, dtype: FeatureType) -> str:
    high = low + step - (1 if _is_whole(dtype) else 0)
    if high == low:
        return _told(low, dtype)
    return f"{_told(low, dtype)} to {_told(high, dtype)}"


def _is_whole(dtype: FeatureType) -> bool:
    """Whether the measures of a type are whole numbers, a bar for one or several of them."""
    return dtype not in _FLOATS and dtype is not FeatureType.TIMESTAMP
