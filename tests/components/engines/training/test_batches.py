"""Batches: every row once, like lengths together, padding only where a row is short."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from components.engines.training.batches import (
    batches_by_length,
    place,
    read_batch,
    shuffled_batches,
)
from components.engines.training.packing import pack

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=120)


def sequences(lengths):
    skills = [list(range(1, length + 1)) for length in lengths]
    correct = [[1] * length for length in lengths]
    return pack(pa.table({"skills": skills, "correct": correct}), label="correct")


@given(LENGTHS, st.integers(1, 16), st.integers(0, 3))
def test_an_epoch_takes_every_row_once(lengths, batch_size, seed):
    plan = shuffled_batches(sequences(lengths), batch_size, np.random.default_rng(seed))
    assert sorted(plan.order.tolist()) == list(range(len(lengths)))
    sizes = np.diff(plan.bounds)
    assert plan.bounds[0] == 0
    assert plan.bounds[-1] == len(lengths)
    assert sizes.max() <= batch_size
    assert plan.batches == -(-len(lengths) // batch_size)


def test_an_epoch_computes_next_to_no_padding():
    lengths = np.random.default_rng(0).geometric(0.03, 5_000).clip(2, 500)
    plan = shuffled_batches(sequences(lengths.tolist()), 64, np.random.default_rng(1))
    padded = sum(
        lengths[plan.order[start:stop]].max() * (stop - start)
        for start, stop in itertools.pairwise(plan.bounds)
    )
    assert padded / lengths.sum() < 1.15


def test_rows_without_sequences_are_shuffled_anew_by_each_generator():
    examples = pack(pa.table({"clicks": np.arange(50.0), "failed": [0] * 50}), label="failed")
    orders = [
        shuffled_batches(examples, 8, np.random.default_rng([1, epoch])).order.tolist()
        for epoch in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(50)) != orders[2]


@given(LENGTHS, st.integers(1, 100))
def test_batches_by_length_hold_about_so_many_cells(lengths, cells):
    sizes = np.asarray(lengths)
    batches = list(batches_by_length(sizes, cells))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sizes[batch].max() * len(batch) <= cells


def test_a_batch_is_padded_to_its_own_longest_row():
    examples = sequences([3, 1, 5])
    batch = read_batch(examples.blocks, place(examples), np.asarray([0, 1], np.int32))
    assert batch["skills"].numpy().tolist() == [[1, 2, 3], [1, 0, 0]]
    assert batch["correct"].numpy().tolist() == [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0]]


def test_a_batch_names_its_columns_again():
    table = pa.table(
        {
            "clicks": [1.0, 2.0, 3.0],
            "pair": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32(), 2)),
            "region": [7, 8, 9],
            "failed": [0, 1, 0],
        }
    )
    examples = pack(table, label="failed")
    batch = read_batch(examples.blocks, place(examples), np.asarray([2, 0], np.int32))
    assert {name: values.numpy().tolist() for name, values in batch.items()} == {
        "clicks": [[3.0], [1.0]],
        "pair": [[5.0, 6.0], [1.0, 2.0]],
        "region": [[9], [7]],
        "failed": [[0.0], [0.0]],
    }
