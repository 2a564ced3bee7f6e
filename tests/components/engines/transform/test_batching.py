from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.transform import batching


def cut(pieces: list[pa.RecordBatch], rows: int, steps: int) -> list[pa.RecordBatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "BATCH_ROWS", rows)
        patch.setattr(batching, "BATCH_STEPS", steps)
        return list(batching.rebatch(pieces))


def table(lengths: list[int | None]) -> pa.Table:
    skills = [None if length is None else ["s"] * length for length in lengths]
    return pa.table(
        {
            "row": pa.array(range(len(lengths)), pa.int64()),
            "skills": pa.array(skills, pa.list_(pa.string())),
        }
    )


@given(
    lengths=st.lists(st.none() | st.integers(0, 9), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=12),
    rows=st.integers(1, 50),
    steps=st.integers(1, 60),
)
def test_batches_depend_on_the_rows_alone(
    lengths: list[int | None], cuts: list[int], rows: int, steps: int
) -> None:
    whole = table(lengths)
    edges = [0, *sorted(min(edge, len(lengths)) for edge in cuts), len(lengths)]
    pieces = [
        batch
        for start, end in itertools.pairwise(edges)
        for batch in whole.slice(start, end - start).to_batches()
    ]

    batches = cut(pieces, rows, steps)

    assert [b.to_pydict() for b in batches] == [
        b.to_pydict() for b in cut(whole.to_batches(), rows, steps)
    ]
    assert pa.Table.from_batches(batches, whole.schema).equals(whole)
    for batch in batches:
        held = sum(max(1, len(skills or [])) for skills in batch["skills"].to_pylist())
        assert 0 < batch.num_rows <= rows
        assert held <= steps or batch.num_rows == 1


def test_a_batch_ends_at_its_steps() -> None:
    batches = cut(table([2, 2, 3, None, 7, 1]).to_batches(), rows=3, steps=5)

    assert [batch["row"].to_pylist() for batch in batches] == [[0, 1], [2, 3], [4], [5]]
