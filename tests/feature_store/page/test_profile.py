"""The newest rows in figures: what is counted, and what is not told because it shows a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from feature_store.definitions import FeatureView
from feature_store.fields import Entity, FeatureType, Field, Sensitivity
from feature_store.page.profile import Bar, Distribution, profile_view
from feature_store.sources import ParquetSource
from learnloop.settings import Settings, project_root
from tests.feature_store.online.school import NOW, ago

T = FeatureType
LEARNERS = 100


def profiled(
    values: pa.Array, dtype: T, sensitivity: Sensitivity = Sensitivity.NONE
) -> Distribution:
    """The distribution of one feature, a value for each learner."""
    field = Field("value", dtype, sensitivity)
    view = written({"value": values}, (field,), [ago(days=1)] * len(values))
    (found,) = profile_view(view, NOW).distributions
    return found


def written(
    columns: dict[str, pa.Array], schema: tuple[Field, ...], happened: list[datetime]
) -> FeatureView:
    moment = pa.timestamp("us", "UTC")
    table = pa.table(
        {
            "learner": pa.array(range(len(happened)), pa.int64()),
            "happened": pa.array(happened, moment),
            "recorded": pa.array([at + timedelta(minutes=5) for at in happened], moment),
            **columns,
        }
    )
    parquet.write_table(table, project_root() / "values.parquet")
    return FeatureView(
        "values",
        (Entity("learner", (Field("learner", T.INT64),)),),
        schema,
        ParquetSource("files", "values.parquet", "happened", "recorded"),
        ttl=timedelta(days=30),
    )


@pytest.fixture(autouse=True)
def _project(settings: Settings) -> None:
    """Each test has a project of its own."""


def test_numbers() -> None:
    values = pa.array([n / 8 for n in range(80)] + [None] * 15 + [float("nan")] * 5)
    found = profiled(values, T.FLOAT64)
    assert found.missing == pytest.approx(0.2)
    assert found.quantiles == ("0.09875", "2.469", "4.938", "7.406", "9.776")
    assert (len(found.bars), sum(bar.keys for bar in found.bars)) == (24, 80)
    assert found.bars[0] == Bar("0.09875 to 0.502", 5)  # with the one that lies before


def test_few_whole_numbers_have_a_bar_each() -> None:
    found = profiled(pa.array([n % 4 for n in range(LEARNERS)], pa.int32()), T.INT32)
    assert found.bars == tuple(Bar(str(n), 25) for n in range(4))


def test_many_whole_numbers_share_bars_of_one_width() -> None:
    found = profiled(pa.array(range(LEARNERS), pa.int64()), T.INT64)
    assert found.bars[0] == Bar("0 to 4", 5)
    assert found.bars[-1] == Bar("95 to 99", 5)
    assert len(found.bars) == 20


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([7.5] * LEARNERS, T.FLOAT32), ([ago(days=1)] * LEARNERS, T.TIMESTAMP)],
)
def test_one_value_is_one_bar(values: list[Any], dtype: T) -> None:
    found = profiled(pa.array(values, dtype.arrow), dtype)
    assert found.bars == (Bar(found.quantiles[2], LEARNERS),)


def test_words_that_few_have_are_others() -> None:
    words = ["often"] * 60 + ["at times"] * 30 + ["seldom"] * 9 + [None]
    found = profiled(pa.array(words), T.STRING)
    assert found.bars == (Bar("often", 60), Bar("at times", 30), Bar("others", 9))
    assert (found.quantiles, found.missing) == ((), pytest.approx(0.01))


def test_yes_and_no() -> None:
    found = profiled(pa.array([n < 20 for n in range(LEARNERS)]), T.BOOL)
    assert found.bars == (Bar("false", 80), Bar("true", 20))


def test_lists_and_bytes_are_told_by_their_length() -> None:
    lists = pa.array([[1] * (n % 3) for n in range(LEARNERS)], pa.list_(pa.int64()))
    found = profiled(lists, T.INT64_LIST)
    assert (found.bars, found.note) == ((Bar("0", 34), Bar("1", 33), Bar("2", 33)), "elements")
    found = profiled(pa.array([b"ab"] * LEARNERS), T.BYTES)
    assert (found.bars, found.note) == ((Bar("2", LEARNERS),), "length in bytes")


def test_a_handful_of_keys_and_identifiers_show_nothing() -> None:
    few = profiled(pa.array([1.0] * 9 + [None] * 91), T.FLOAT64)
    assert few == Distribution(
        few.field, pytest.approx(0.91), note="fewer than 10 keys have a value"
    )
    named = profiled(pa.array(["somebody"] * LEARNERS), T.STRING, Sensitivity.IDENTIFIER)
    assert named == Distribution(named.field, 0.0, note="identifiers are not shown")


def test_how_fresh_the_newest_rows_are() -> None:
    happened = [ago(hours=n) for n in range(90)] + [ago(days=31)] * 10
    values = pa.array(range(100), pa.int64())
    view = written({"value": values}, (Field("value", T.INT64),), happened)
    found = profile_view(view, NOW)
    # The newest was recorded after now, and is not known yet.
    assert (found.keys, found.newest) == (99, ago(hours=1))
    assert found.ages == (50 * 3600.0, 31 * 86_400.0)
    assert found.lags == (300.0, 300.0)
    assert found.expired == pytest.approx(10 / 99)
    assert sum(bar.keys for bar in found.happened) == 99
    ever = profile_view(replace(view, ttl=None), NOW)
    assert ever.expired == 0.0


def test_a_source_without_rows_and_one_that_tells_no_record() -> None:
    view = written({"value": pa.array([], pa.int64())}, (Field("value", T.INT64),), [])
    found = profile_view(view, NOW)
    assert (found.keys, found.newest, found.happened, found.ages) == (0, None, (), ())
    view = written({"value": pa.array([1] * 20)}, (Field("value", T.INT64),), [ago(days=1)] * 20)
    silent = replace(view, source=ParquetSource("files", "values.parquet", "happened"))
    assert profile_view(silent, NOW).lags == ()
