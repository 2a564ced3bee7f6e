"""Repeated keys: found in any batch, whatever the types, and without false alarms."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from components.engines.readers.keys import SeenKeys, hash_rows

KEYS = st.lists(st.tuples(st.sampled_from(["", "a", "b", "ab", None]), st.integers(-3, 3)))


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(KEYS.filter(bool), max_size=6))
def test_repeats_are_those_that_a_set_finds(
    batches: list[list[tuple[str | None, int]]],
) -> None:
    seen, oracle = SeenKeys(), set[tuple[str | None, int]]()
    for batch in batches:
        texts, numbers = zip(*batch, strict=True)
        hashes = hash_rows([pa.array(texts, pa.string()), pa.array(numbers, pa.int64())])
        expected = []
        for key in batch:
            expected.append(key in oracle)
            oracle.add(key)
        assert seen.repeats(hashes).tolist() == expected


def test_a_hash_does_not_depend_on_where_an_array_begins() -> None:
    column = pa.array(["left out", "a", "b"])
    assert hash_rows([column.slice(1)]).tolist() == hash_rows([pa.array(["a", "b"])]).tolist()


def test_many_keys_have_as_many_hashes() -> None:
    numbers = np.arange(200_000)
    hashes = hash_rows([pa.array(numbers), pa.array(numbers[::-1].copy())])
    assert len(np.unique(hashes)) == 200_000


def test_runs_of_remembered_keys_stay_few() -> None:
    seen = SeenKeys()
    for start in range(0, 6_400, 64):
        seen.repeats(np.arange(start, start + 64, dtype=np.uint64))
    assert len(seen._runs) < 8
    assert seen.repeats(np.array([6_399, 6_400], np.uint64)).tolist() == [True, False]
