"""Packing: what goes in comes out, unpadded, and what cannot feed a model is refused."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.training.packing import pack
from learnloop.errors import UsageError

NUMBERS = st.integers(-1000, 1000)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.lists(NUMBERS), st.integers(0, 1)), min_size=1))
def test_every_value_comes_back(rows):
    clicks, days, skills, failed = zip(*rows, strict=True)
    table = pa.table(
        {
            "failed": pa.array(failed, pa.int64()),
            "clicks": pa.array(clicks, pa.float64()),
            "skills": pa.array(skills, pa.list_(pa.int64())),
            "days": pa.array(days, pa.int64()),
            "pair": pa.array([[c, d] for c, d, *_ in rows], pa.list_(pa.float32(), 2)),
            "learner": pa.array(["somebody"] * len(rows)),
        }
    )
    packed = pack(table, label="failed")
    assert packed.column("clicks").tolist() == list(clicks)
    assert packed.column("days").tolist() == list(days)
    assert packed.column("pair").tolist() == [[c, d] for c, d, *_ in rows]
    assert packed.column("failed").tolist() == list(failed)
    splits = packed.splits("skills")
    assert np.diff(splits).tolist() == [len(row) for row in skills]
    assert packed.column("skills").tolist() == [skill for row in skills for skill in row]
    assert packed.lengths.tolist() == [max(1, len(row)) for row in skills]
    assert [(f.name, f.dtype, f.shape) for f in packed.features] == [
        ("clicks", "float32", ()),
        ("days", "int32", ()),
        ("pair", "float32", (2,)),
        ("skills", "int32", (None,)),
    ]


def test_scalars_and_pairs_of_one_dtype_share_one_matrix():
    table = pa.table(
        {
            "clicks": [1.5],
            "pair": pa.array([[2.0, 3.0]], pa.list_(pa.float64(), 2)),
            "failed": [1],
            "region": [7],
        }
    )
    packed = pack(table, label="failed")
    assert [block.values.tolist() for block in packed.blocks] == [[[1.5, 1.0, 2.0, 3.0]], [[7]]]


def test_slices_and_chunks_of_a_table_are_packed_as_they_read():
    table = pa.table({"skills": [[1], [2, 3], [4, 5, 6]], "correct": [[0], [1, 0], [1, 1, 0]]})
    sliced = pa.concat_tables([table.slice(2), table.slice(1, 1)])
    packed = pack(sliced, label="correct")
    assert packed.column("skills").tolist() == [4, 5, 6, 2, 3]
    assert packed.splits("correct").tolist() == [0, 3, 5]
    assert packed.is_per_step


@pytest.mark.parametrize(
    ("values", "received"),
    [([1.0, None, None], "2 missing"), ([math.nan, 1.0, math.inf], "2 not finite")],
)
def test_missing_values_are_refused(values, received):
    table = pa.table({"clicks": pa.array(values, pa.float32()), "failed": [0, 1, 0]})
    with pytest.raises(UsageError) as refusal:
        pack(table, label="failed")
    assert str(refusal.value) == (
        "Column 'clicks' has values missing or not finite after the transform.\n"
        "  where:    train\n"
        "  expected: a finite number everywhere\n"
        f"  received: {received}\n"
        "  next:     fill or clip them in preprocessing_fn"
    )


def test_text_is_refused_where_it_is_asked_for():
    table = pa.table({"region": ["North"], "failed": [0]})
    with pytest.raises(UsageError) as refusal:
        pack(table, label="failed", columns=["region"])
    assert str(refusal.value) == (
        "Column 'region' cannot feed a model.\n"
        "  where:    train\n"
        "  expected: numbers, or one list of numbers a row\n"
        "  received: string\n"
        "  next:     make it numeric in preprocessing_fn (tft.compute_and_apply_vocabulary)"
    )


def test_integers_beyond_an_index_are_refused():
    table = pa.table({"learner": [3_000_000_000], "failed": [0]})
    with pytest.raises(UsageError) as refusal:
        pack(table, label="failed")
    assert str(refusal.value) == (
        "Column 'learner' has integers too large for an index.\n"
        "  where:    train\n"
        "  expected: at most 2,147,483,647\n"
        "  received: 3,000,000,000\n"
        "  next:     hash or number them in preprocessing_fn (tft.hash_strings, a vocabulary)"
    )


def test_a_label_above_one_is_refused():
    table = pa.table({"clicks": [1.0, 2.0], "grade": [0, 7]})
    with pytest.raises(UsageError) as refusal:
        pack(table, label="grade")
    assert str(refusal.value) == (
        "The label 'grade' is no answer of yes or no.\n"
        "  where:    train\n"
        "  expected: 0 or 1, or a value below 0 where the answer is not known\n"
        "  received: 7\n"
        "  next:     make it 0 or 1 in preprocessing_fn"
    )


def test_a_list_of_one_value_is_one_value():
    kind = pa.list_(pa.int64(), 1)
    table = pa.table({"clicks": [1.0, 2.0], "failed": pa.array([[0], [1]], kind)})
    packed = pack(table, label="failed")
    assert packed.column("failed").tolist() == [0.0, 1.0]
    assert not packed.is_per_step
