from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.validation.features import as_features
from components.engines.validation.statistics import (
    canonical,
    compute_statistics,
    digest_statistics,
)

finite = st.floats(-1e6, 1e6, allow_nan=False, width=32)
words = st.sampled_from(["", "a", "b", "A Level", "ä", "F", "M"])


@st.composite
def tables(draw: st.DrawFn) -> pa.RecordBatch:
    rows = draw(st.integers(1, 60))

    def column(values: st.SearchStrategy[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)

    return pa.RecordBatch.from_arrays(
        [
            column(finite, pa.float64()),
            column(st.integers(-(2**40), 2**40), pa.int64()),
            column(words, pa.string()),
            column(st.lists(st.integers(0, 5), max_size=4), pa.list_(pa.int64())),
        ],
        ["score", "clicks", "word", "answers"],
    )


def by_name(statistics: Any) -> dict[str, Any]:
    return {feature.path.step[0]: feature for feature in statistics.datasets[0].features}


@settings(max_examples=40, deadline=None)
@given(tables())
def test_statistics_are_what_numpy_finds(batch: pa.RecordBatch) -> None:
    found = by_name(compute_statistics([batch]))
    for name in ("score", "clicks", "answers"):
        lists = as_features(batch).column(batch.schema.names.index(name))
        values = lists.flatten().to_numpy(zero_copy_only=False)
        numbers = found[name].num_stats
        assert numbers.common_stats.num_missing == lists.null_count
        assert numbers.common_stats.num_non_missing == len(lists) - lists.null_count
        assert numbers.common_stats.tot_num_values == len(values)
        if not len(values):
            continue
        assert numbers.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
        assert numbers.std_dev == pytest.approx(values.std(), rel=1e-6, abs=1e-3)
        assert (numbers.min, numbers.max) == (values.min(), values.max())
        assert numbers.num_zeros == (values == 0).sum()
    text = found["word"].string_stats
    present = [word for word in batch.column(2).to_pylist() if word is not None]
    assert text.common_stats.num_missing == batch.num_rows - len(present)
    assert text.unique == len(set(present))
    counts = {bar.label: bar.sample_count for bar in text.rank_histogram.buckets}
    assert counts == {word: present.count(word) for word in present}


@settings(max_examples=30, deadline=None)
@given(tables(), st.integers(1, 60))
def test_batches_add_up_to_the_whole(batch: pa.RecordBatch, rows: int) -> None:
    parts = pa.Table.from_batches([batch]).to_batches(max_chunksize=rows)
    whole, merged = by_name(compute_statistics([batch])), by_name(compute_statistics(parts))
    assert merged["word"].string_stats.unique == whole["word"].string_stats.unique
    assert merged["word"].string_stats.rank_histogram == whole["word"].string_stats.rank_histogram
    for name in ("score", "clicks", "answers"):
        mine, theirs = merged[name].num_stats, whole[name].num_stats
        for exact in ("num_missing", "num_non_missing", "tot_num_values", "max_num_values"):
            assert getattr(mine.common_stats, exact) == getattr(theirs.common_stats, exact)
        assert (mine.min, mine.max, mine.num_zeros) == (theirs.min, theirs.max, theirs.num_zeros)
        assert mine.mean == pytest.approx(theirs.mean, rel=1e-9, abs=1e-6)
        assert mine.std_dev == pytest.approx(theirs.std_dev, rel=1e-6, abs=1e-3)


def test_quantiles_of_batches_are_those_of_the_whole_within_their_tolerance() -> None:
    values = np.random.default_rng(3).lognormal(size=200_000)
    batch = pa.RecordBatch.from_arrays([pa.array(values)], ["score"])
    parts = pa.Table.from_batches([batch]).to_batches(max_chunksize=7_000)
    for statistics in (compute_statistics([batch]), compute_statistics(parts)):
        numbers = by_name(statistics)["score"].num_stats
        rank = (values < numbers.median).mean()
        assert rank == pytest.approx(0.5, abs=0.01)
        assert [h.type for h in numbers.histograms] == [0, 1]


def test_statistics_are_those_of_tfdv() -> None:
    from tensorflow_data_validation.statistics import stats_impl, stats_options

    draw = np.random.default_rng(5)
    batch = pa.RecordBatch.from_pydict(
        {
            "score": pa.array(draw.normal(size=5_000), mask=draw.random(5_000) < 0.1),
            "clicks": draw.poisson(3, 5_000),
            "region": draw.choice([f"Region {n}" for n in range(40)], 5_000),
        }
    )
    options = stats_options.StatsOptions(num_quantiles_histogram_buckets=30)
    expected = stats_impl.generate_statistics_in_memory(as_features(batch), options)
    assert compute_statistics([batch]) == expected


def test_statistics_are_those_of_tfdv_on_beam() -> None:
    import apache_beam as beam
    import tensorflow_data_validation as tfdv

    draw = np.random.default_rng(6)
    batch = pa.RecordBatch.from_pydict(
        {
            "score": pa.array(draw.normal(size=2_000), mask=draw.random(2_000) < 0.1),
            "region": draw.choice([f"Region {n}" for n in range(40)], 2_000),
            "answers": [[1, 0, 1][: n % 4] for n in range(2_000)],
        }
    )
    with beam.Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create([as_features(batch)])
            | tfdv.GenerateStatistics(tfdv.StatsOptions(num_quantiles_histogram_buckets=30))
            | beam.Map(_remember)
        )
    assert len(_REMEMBERED) == 1
    expected, statistics = by_name(_REMEMBERED[0]), by_name(compute_statistics([batch]))
    assert expected.keys() == statistics.keys()
    for name, feature in statistics.items():
        assert feature == expected[name], name


_REMEMBERED: list[Any] = []


def _remember(statistics: Any) -> None:
    _REMEMBERED.append(statistics)


def tied_batches() -> list[pa.RecordBatch]:
    """More distinct values than a sketch holds, many equally frequent."""
    draw = np.random.default_rng(0)
    table = pa.table(
        {
            "tied": [f"t{n}" for n in draw.integers(0, 3_000, 20_000)],
            "even": [f"e{n % 1_500}" for n in range(20_000)],
            "tailed": [f"z{min(n, 9_000)}" for n in draw.zipf(1.3, 20_000)],
            "single": [f"s{n}" for n in range(20_000)],
        }
    )
    return table.to_batches(max_chunksize=6_000)


def test_digest_is_stable_whether_tfdv_is_or_not() -> None:
    """TFDV's bytes may differ from run to run (tied ranks); the digest never does."""
    from tensorflow_data_validation.statistics import stats_impl

    whole = pa.Table.from_batches(tied_batches()).combine_chunks().to_batches()[0]
    raw = [stats_impl.generate_statistics_in_memory(as_features(whole)) for _ in range(5)]
    assert len({digest_statistics(s) for s in raw}) == 1
    computed = [compute_statistics(tied_batches()) for _ in range(5)]
    assert len({s.SerializeToString(deterministic=True) for s in computed}) == 1


@pytest.mark.slow
def test_digest_is_the_same_in_other_processes() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r});"
        "from test_statistics import *;"
        "print(digest_statistics(compute_statistics(tied_batches())))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, env=environment
        ).stdout
        for _ in range(2)
    }
    assert digests == {f"{digest_statistics(compute_statistics(tied_batches()))}\n".encode()}


def test_canonical_leaves_out_only_what_the_sketch_cannot_tell() -> None:
    batches = tied_batches()
    found = by_name(compute_statistics(batches))
    for name in ("tied", "even", "single"):
        assert not found[name].string_stats.rank_histogram.buckets
        assert not found[name].string_stats.top_values
    assert found["even"].string_stats.unique == 1_500
    tailed = found["tailed"].string_stats
    counts = pa.Table.from_batches(batches)["tailed"].value_counts().to_pylist()
    frequent = {c["values"]: c["counts"] for c in counts if c["counts"] > 2 * 20_000 / 1_024}
    ranked = {bar.label: bar.sample_count for bar in tailed.rank_histogram.buckets}
    assert tailed.unique > 1_000
    assert len(frequent) > 30
    assert frequent.keys() <= ranked.keys()
    assert all(0 <= ranked[value] - count <= 20_000 / 1_024 for value, count in frequent.items())


def test_canonical_keeps_a_complete_ranking(describe: Any) -> None:
    statistics = describe(gender=["F", "M", "F", "M"])
    assert canonical(statistics) == statistics
    assert [v.value for v in by_name(statistics)["gender"].string_stats.top_values] == ["M", "F"]


def test_digest_tells_one_changed_value(describe: Any) -> None:
    digests = {digest_statistics(describe(x=[1, 2, n])) for n in (3, 4)}
    assert len(digests) == 2


def test_rows_may_be_none(describe: Any) -> None:
    statistics = describe(score=pa.array([], pa.float64()), word=pa.array([], pa.string()))
    assert statistics.datasets[0].num_examples == 0
    assert set(by_name(statistics)) == {"score", "word"}
