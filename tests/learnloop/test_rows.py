"""Equal rows give equal digests, other rows others, however they are chunked."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from learnloop.rows import BLOCK_ROWS, RowDigest

values = st.one_of(st.none(), st.integers(-5, 5))
rows = st.lists(
    st.tuples(
        values,
        st.one_of(st.none(), st.text(max_size=3)),
        st.one_of(st.none(), st.booleans()),
        st.one_of(st.none(), st.lists(values, max_size=3)),
        st.one_of(st.none(), st.floats(allow_nan=False)),
    ),
    max_size=12,
)
SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("text", pa.string()),
        ("flag", pa.bool_()),
        ("list", pa.list_(pa.int64())),
        ("real", pa.float64()),
    ]
)


def table_of(content: list[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*content, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def digest(*tables: pa.Table) -> str:
    found = RowDigest()
    found.start(SCHEMA)
    for table in tables:
        found.update(table)
    return found.hexdigest()


@settings(max_examples=300, deadline=None)
@given(content=rows, cuts=st.lists(st.integers(0, 12), max_size=4))
def test_chunks_do_not_count(content: list[tuple[object, ...]], cuts: list[int]) -> None:
    table = table_of(content)
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = [table.slice(a, b - a) for a, b in pairwise(edges)]
    assert digest(*pieces) == digest(table)


@settings(max_examples=300, deadline=None)
@given(one=rows, other=rows)
def test_equal_digests_mean_equal_rows(
    one: list[tuple[object, ...]], other: list[tuple[object, ...]]
) -> None:
    is_same = table_of(one).to_pylist() == table_of(other).to_pylist() and repr(one) == repr(other)
    if is_same:
        assert digest(table_of(one)) == digest(table_of(other))
    elif table_of(one).to_pylist() != table_of(other).to_pylist():
        assert digest(table_of(one)) != digest(table_of(other))


def test_what_lies_under_a_null_does_not_count() -> None:
    clean = pa.array([1, None, 3], pa.int64())
    dirty = pa.Array.from_buffers(
        pa.int64(), 3, [clean.buffers()[0], pa.array([1, 99, 3], pa.int64()).buffers()[1]]
    )
    assert dirty.to_pylist() == [1, None, 3]
    one, other = RowDigest(), RowDigest()
    one.update(pa.table({"x": clean}))
    other.update(pa.table({"x": dirty}))
    assert one.hexdigest() == other.hexdigest()


def test_names_and_types_count() -> None:
    found = set()
    for table in (
        pa.table({"x": pa.array([1], pa.int64())}),
        pa.table({"y": pa.array([1], pa.int64())}),
        pa.table({"x": pa.array([1], pa.int32())}),
    ):
        one = RowDigest()
        one.update(table)
        found.add(one.hexdigest())
    assert len(found) == 3


def test_blocks_are_cut_at_the_same_rows_whatever_arrives() -> None:
    table = pa.table({"x": pa.array(range(2 * BLOCK_ROWS + 10), pa.int64())})
    whole, pieces = RowDigest(), RowDigest()
    whole.update(table)
    for batch in table.to_batches(1000):
        pieces.update(batch)
    assert whole.hexdigest() == pieces.hexdigest()
