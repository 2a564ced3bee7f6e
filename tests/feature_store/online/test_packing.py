"""Packed rows: every bit comes back, and newer rows compare as newer without a schema."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.fields import FeatureType, Field
from feature_store.online.packing import RowSchema, event_time, fingerprint, pack_rows
from feature_store.online.rows import RowReader
from learnloop.errors import LearnLoopError
from tests.feature_store.online import strategies

T = FeatureType


def pack(schema: RowSchema, values: dict[str, list[Any]]) -> list[bytes]:
    columns = {name: strategies.column(dtype, values[name]) for name, dtype in schema.fields}
    times = np.arange(len(next(iter(values.values()))), dtype=np.int64)
    return pack_rows(schema, columns, times, times + 1)


def reader(
    stored: RowSchema, fields: list[Field] | None = None, names: list[str] | None = None
) -> RowReader:
    fields = fields or [Field(name, dtype) for name, dtype in stored.fields]
    return RowReader(stored, fields, names or [field.name for field in fields], "activity")


def in_utc(value: Any) -> Any:
    """Arrow's times are in another class of UTC than Python's own."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


@settings(deadline=None)
@given(st.data())
def test_columns_come_back_bit_for_bit(data: st.DataObject) -> None:
    schema = data.draw(strategies.schemas())
    values = data.draw(strategies.rows(schema))
    columns = reader(schema).columns(pack(schema, values))
    for (name, dtype), column in zip(schema.fields, columns, strict=True):
        assert column.type == dtype.arrow
        column.validate(full=True)
        assert strategies.drawn(column) == values[name]


@settings(deadline=None)
@given(st.data())
def test_a_row_alone_has_the_values_of_its_columns(data: st.DataObject) -> None:
    schema = data.draw(strategies.schemas())
    values = data.draw(strategies.rows(schema))
    for name, dtype in schema.fields:
        if dtype is T.TIMESTAMP:  # Python's datetime is narrower than Arrow's
            values[name] = [value and value % 10**15 for value in values[name]]
    read = reader(schema)
    packed = pack(schema, values)
    columns = [column.to_pylist() for column in read.columns(packed)]
    for at, row in enumerate(packed):
        found, expected = read.one(row), tuple(column[at] for column in columns)
        # Their text tells apart what is equal: 0.0 and -0.0, True and 1; and a NaN equals its own.
        assert repr(found) == repr(tuple(map(in_utc, expected)))


@settings(deadline=None)
@given(st.data())
def test_any_choice_and_order_of_features_can_be_read(data: st.DataObject) -> None:
    schema = data.draw(strategies.schemas())
    values = data.draw(strategies.rows(schema))
    fields = [Field(name, dtype) for name, dtype in schema.fields]
    names = data.draw(st.lists(st.sampled_from(schema.names), min_size=1, unique=True))
    read = reader(schema, fields, names)
    packed = pack(schema, values)
    assert [strategies.drawn(column) for column in read.columns(packed)] == [
        values[name] for name in names
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(strategies.INT64, strategies.INT64), min_size=2, max_size=2))
def test_rows_compare_as_their_times_do(times: list[tuple[int, int]]) -> None:
    schema = RowSchema((("clicks", T.INT64),))
    happened, created = np.array(times, np.int64).T
    first, second = pack_rows(schema, {"clicks": pa.array([1, 1])}, happened, created)
    assert (first[:16] < second[:16]) == (times[0] < times[1])
    assert (event_time(first), event_time(second)) == (times[0][0], times[1][0])


def test_a_row_is_as_long_as_its_values() -> None:
    """Both times, the fingerprint, a bit per field, the values, and what varies in length."""
    schema = RowSchema((("clicks", T.INT64), ("score", T.FLOAT32), ("skill", T.STRING)))
    (row,) = pack(schema, {"clicks": [1], "score": [0], "skill": ["sums"]})
    assert len(row) == 16 + 8 + 1 + (8 + 4 + 4) + 4
    assert fingerprint(row) == schema.fingerprint


def test_a_slice_of_a_column_is_packed_as_the_slice() -> None:
    """Arrow's slices share their parent's memory; so do record batches cut from a table."""
    schema = RowSchema((("scores", T.FLOAT32_LIST), ("skill", T.STRING), ("seen", T.BOOL)))
    whole = {
        "scores": pa.array([[1], None, [2, None], [3]], pa.list_(pa.float32())),
        "skill": pa.array(["a", "b", None, "d"]),
        "seen": pa.array([True, None, False, True]),
    }
    columns = {name: column.slice(1, 2) for name, column in whole.items()}
    times = np.zeros(2, np.int64)
    read = reader(schema).columns(pack_rows(schema, columns, times, times))
    assert [column.to_pylist() for column in read] == [
        [None, [2, None]],
        ["b", None],
        [None, False],
    ]


def test_the_values_of_a_row_are_python_values() -> None:
    schema = RowSchema((("at", T.TIMESTAMP), ("skills", T.STRING_LIST), ("steps", T.INT64_LIST)))
    packed = pack(schema, {"at": [1_700_000_000_000_001], "skills": [["é", None]], "steps": [[3]]})
    assert reader(schema).one(packed[0]) == (
        datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC),
        ["é", None],
        [3],
    )


class TestEvolution:
    """Rows packed under an earlier schema are read as the view of today."""

    @settings(deadline=None)
    @given(st.data())
    def test_rows_of_any_earlier_schema_are_read(self, data: st.DataObject) -> None:
        """Features are kept, renamed, removed and added, in any order."""
        stored = data.draw(strategies.schemas())
        values = data.draw(strategies.rows(stored))
        fields, expected = [], {}
        for name, dtype in stored.fields:
            fate = data.draw(st.sampled_from(["kept", "renamed", "removed"]))
            if fate == "kept":
                fields.append(Field(name, dtype))
                expected[name] = values[name]
            elif fate == "renamed":
                fields.append(Field(f"new_{name}", dtype, formerly=(name,)))
                expected[f"new_{name}"] = values[name]
        count = len(next(iter(values.values())))
        for at in range(data.draw(st.integers(0 if fields else 1, 3))):
            fields.append(Field(f"added{at}", data.draw(st.sampled_from(list(T)))))
            expected[f"added{at}"] = [None] * count
        fields = data.draw(st.permutations(fields))
        columns = reader(stored, fields).columns(pack(stored, values))
        found = {f.name: strategies.drawn(c) for f, c in zip(fields, columns, strict=True)}
        assert found == expected
        assert [column.type for column in columns] == [field.dtype.arrow for field in fields]

    @pytest.mark.parametrize(
        ("earlier", "now", "value"),
        [(a, b, {T.BOOL: True, T.INT32: 7}.get(a, 0x3FC00000)) for a in T for b in T
         if a is not b and a.widens_to(b)],
    )  # fmt: skip
    def test_a_widened_type(self, earlier: T, now: T, value: int) -> None:
        stored = RowSchema((("clicks", earlier), ("skill", T.STRING)))
        packed = pack(stored, {"clicks": [value, None], "skill": ["a", "b"]})
        read = reader(stored, [Field("clicks", now)])
        expected = 1.5 if earlier is T.FLOAT32 else int(value)
        (column,) = read.columns(packed)
        assert column.type == now.arrow
        assert column.to_pylist() == [expected, None]
        (alone,) = read.one(packed[0])
        assert (alone, type(alone)) == (expected, type(column[0].as_py()))
        assert read.one(packed[1]) == (None,)

    def test_a_name_that_another_feature_took_over(self) -> None:
        """``clicks`` became ``visits``, and a new feature is called ``clicks``."""
        fields = [Field("clicks", T.STRING), Field("visits", T.INT64, formerly=("clicks",))]
        earlier = RowSchema((("clicks", T.INT64),))
        assert reader(earlier, fields).one(pack(earlier, {"clicks": [5]})[0]) == (None, 5)
        later = RowSchema.of(fields)
        row = pack(later, {"clicks": ["many"], "visits": [5]})[0]
        assert reader(later, fields).one(row) == ("many", 5)

    def test_a_type_that_does_not_widen(self) -> None:
        stored = RowSchema((("clicks", T.STRING),))
        with pytest.raises(LearnLoopError) as raised:
            reader(stored, [Field("visits", T.INT64, formerly=("clicks",))])
        assert str(raised.value) == (
            "Stored values of 'clicks' do not fit the type of 'visits'.\n"
            "  where:    feature view 'activity'\n"
            "  expected: int64, or a type that widens to it\n"
            "  received: string\n"
            "  next:     learnloop features materialize --view activity"
        )


def test_a_fingerprint_tells_schemas_apart() -> None:
    schemas = [
        RowSchema((("a", T.INT64), ("b", T.STRING))),
        RowSchema((("b", T.STRING), ("a", T.INT64))),
        RowSchema((("a", T.INT32), ("b", T.STRING))),
        RowSchema((("a", T.INT64),)),
    ]
    assert len({schema.fingerprint for schema in schemas}) == 4
    for schema in schemas:
        assert RowSchema.from_json(schema.to_json()) == schema


def test_a_nan_keeps_its_payload_in_a_row_alone() -> None:
    schema = RowSchema((("score", T.FLOAT64),))
    bits = 0x7FF8_0000_DEAD_BEEF
    (value,) = reader(schema).one(pack(schema, {"score": [bits]})[0])
    assert struct.unpack("<Q", struct.pack("<d", value))[0] == bits
