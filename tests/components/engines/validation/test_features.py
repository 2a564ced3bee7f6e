from __future__ import annotations

import datetime
import decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.validation.features import as_features
from learnloop.errors import UsageError

DAY = datetime.date(1970, 1, 3)
CASES = {
    "integers": (pa.array([1, None, 3]), [[1], None, [3]]),
    "booleans": (pa.array([True, None, False]), [[1], None, [0]]),
    "text": (pa.array(["a", None, ""]), [["a"], None, [""]]),
    "large text": (pa.array(["a", None, ""], pa.large_string()), [["a"], None, [""]]),
    "bytes": (pa.array([b"\xff", b"", None]), [[b"\xff"], [b""], None]),
    "categories": (pa.array(["x", None, "x"]).dictionary_encode(), [["x"], None, ["x"]]),
    "dates": (pa.array([DAY, DAY, None]), [[2], [2], None]),
    "decimals": (pa.array([decimal.Decimal("1.5"), None, None]), [[1.5], None, None]),
    "nothing": (pa.nulls(3), [None, None, None]),
    "lists of nothing": (pa.array([[], None, [None]]), [[], None, []]),
    "lists": (pa.array([[1, 2], None, []]), [[1, 2], None, []]),
    "lists with gaps": (pa.array([[1, None, 3], [None], None]), [[1, 3], [], None]),
    "large lists": (pa.array([["a"], None, []], pa.large_list(pa.string())), [["a"], None, []]),
    "fixed lists": (
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)),
        [[1, 2], None, [3, 4]],
    ),
    "lists of booleans": (pa.array([[True], None, [False, True]]), [[1], None, [0, 1]]),
}


@pytest.mark.parametrize(("array", "expected"), CASES.values(), ids=CASES)
def test_a_column_becomes_lists_of_plain_values(array: pa.Array, expected: list[object]) -> None:
    batch = pa.RecordBatch.from_arrays([array], ["c"])
    features = as_features(batch)
    features.validate(full=True)
    assert features.column(0).to_pylist() == expected
    assert as_features(batch.slice(1)).column(0).to_pylist() == expected[1:]


def test_a_column_without_nulls_is_not_copied() -> None:
    values = pa.array(range(1000))
    wrapped = as_features(pa.RecordBatch.from_arrays([values], ["c"])).column(0)
    assert wrapped.values.buffers()[1].address == values.buffers()[1].address


def test_columns_left_out_are_not_there() -> None:
    batch = pa.RecordBatch.from_pydict({"learner": ["l1"], "clicks": [3]})
    assert as_features(batch, ["learner", "absent"]).schema.names == ["clicks"]


def test_a_struct_has_no_statistics() -> None:
    batch = pa.RecordBatch.from_pylist([{"address": {"town": "Leeds"}}])
    with pytest.raises(UsageError) as refusal:
        as_features(batch)
    assert str(refusal.value) == (
        "A column has a type without statistics.\n"
        "  where:    column 'address'\n"
        "  expected: numbers, booleans, text, bytes, dates, or lists of these\n"
        "  received: struct<town: string>"
    )


@given(st.lists(st.none() | st.lists(st.none() | st.integers(-9, 9))), st.data())
def test_any_slice_of_any_lists_keeps_what_is_there(
    rows: list[object], data: st.DataObject
) -> None:
    array = pa.array(rows, pa.list_(pa.int64()))
    start = data.draw(st.integers(0, len(rows)))
    batch = pa.RecordBatch.from_arrays([array], ["c"]).slice(start)
    expected = [
        None if row is None else [item for item in row if item is not None] for row in rows[start:]
    ]
    assert as_features(batch).column(0).to_pylist() == expected
