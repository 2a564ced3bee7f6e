"""Padding of the served signature: only the end of a row, and never a value that could be real."""

from __future__ import annotations

import math

import pytest

from components.engines.training.signature import RawColumn, never_negative

pytestmark = pytest.mark.xdist_group("training")


@pytest.mark.parametrize(
    ("dtype", "rows", "values", "places"),
    [
        ("string", [["a", "", "b", ""], ["", "", "", ""]], [b"a", b"", b"b"], [0, 1, 2]),
        ("int64", [[3, -1, -1], [-1, 0, -1]], [3, -1, 0], [0, 0, 1]),
        (
            "float32",
            [[math.nan, 1.5], [2.5, math.nan]],
            [pytest.approx(math.nan, nan_ok=True), 1.5, 2.5],
            [0, 1, 0],
        ),
    ],
)
def test_only_the_end_of_a_row_is_padding(dtype, rows, values, places):
    import tensorflow as tf

    column = RawColumn.of("x", tf.io.VarLenFeature(tf.as_dtype(dtype)), frozenset({"x"}))
    sparse = column.without_padding(tf.constant(rows, dtype))
    assert sparse.values.numpy().tolist() == values
    assert sparse.indices[:, 1].numpy().tolist() == places
    assert sparse.dense_shape.numpy().tolist() == [2, len(rows[0])]


def test_integers_that_may_be_negative_are_padded_with_the_smallest():
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = text_format.Parse(
        """
        feature { name: "responses" type: INT int_domain { min: 0 max: 1 } }
        feature { name: "days_late" type: INT int_domain { min: -60 } }
        feature { name: "attempts" type: INT }
        """,
        schema_pb2.Schema(),
    )
    assert never_negative(schema) == {"responses"}
    import tensorflow as tf

    paddings = [
        RawColumn.of(name, tf.io.VarLenFeature(tf.int64), never_negative(schema)).padding
        for name in ("responses", "days_late")
    ]
    assert paddings == [-1, -(2**63)]


def test_a_column_survives_json():
    column = RawColumn("skills", "string", (None,), "")
    assert RawColumn.from_json(column.to_json()) == column
