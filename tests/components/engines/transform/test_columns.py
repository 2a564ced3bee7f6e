from __future__ import annotations

import pyarrow as pa
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.engines.transform import columns
from learnloop.errors import UsageError

NUMBER = tf.io.FixedLenFeature([], tf.float32)
WHOLE = tf.io.FixedLenFeature([], tf.int64)
TEXT = tf.io.FixedLenFeature([], tf.string)
OPTIONAL_TEXT = tf.io.VarLenFeature(tf.string)


def read(column: pa.Array, spec: object) -> tf.Tensor | tf.SparseTensor:
    batch = pa.RecordBatch.from_arrays([column], ["x"])
    return columns.to_tensors(batch, {"x": spec}, {"x"})["x"]


@pytest.mark.parametrize(
    ("column", "spec", "expected"),
    [
        (pa.array([1.5, 2.5], pa.float64()), NUMBER, [1.5, 2.5]),
        (pa.array([1, 2], pa.int32()), NUMBER, [1.0, 2.0]),
        (pa.array([True, False]), WHOLE, [1, 0]),
        (pa.array([3.0, 4.0]), WHOLE, [3, 4]),
        (pa.array(["a", "ü"]), TEXT, [b"a", "ü".encode()]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), TEXT, [b"a", b"b", b"a"]),
        (pa.array([1.0, 2.0]), tf.io.FixedLenFeature([1], tf.float32), [[1.0], [2.0]]),
        (pa.array([[1, 2], [3, 4]]), tf.io.FixedLenFeature([2], tf.int64), [[1, 2], [3, 4]]),
        (
            pa.array([["a", "b"], ["c", "d"], ["e", "f"]], pa.list_(pa.string(), 2)).slice(1),
            tf.io.FixedLenFeature([2], tf.string),
            [[b"c", b"d"], [b"e", b"f"]],
        ),
        (
            pa.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]).slice(1),
            tf.io.FixedLenFeature([2, 2], tf.int64),
            [[[5, 6], [7, 8]]],
        ),
    ],
)
def test_a_dense_feature_is_read(column: pa.Array, spec: object, expected: list[object]) -> None:
    assert read(column, spec).numpy().tolist() == expected


@pytest.mark.parametrize(
    ("column", "indices", "values", "shape"),
    [
        (pa.array(["a", None, "b"]), [[0, 0], [2, 0]], [b"a", b"b"], [3, 1]),
        (pa.array([None, None], pa.string()), [], [], [2, 0]),
        (
            pa.array([["z"], ["a", "b"], [], None, ["c"]]).slice(1),
            [[0, 0], [0, 1], [3, 0]],
            [b"a", b"b", b"c"],
            [4, 2],
        ),
    ],
)
def test_an_optional_feature_is_sparse(
    column: pa.Array, indices: list[list[int]], values: list[bytes], shape: list[int]
) -> None:
    sparse = read(column, OPTIONAL_TEXT)

    assert sparse.indices.numpy().tolist() == indices
    assert sparse.values.numpy().tolist() == values
    assert sparse.dense_shape.numpy().tolist() == shape


@pytest.mark.parametrize(
    ("column", "spec", "message"),
    [
        (
            pa.array([1.0, None, None]),
            NUMBER,
            "A required feature has missing values.\n"
            "  where:    feature 'x'\n"
            "  expected: a value in each row\n"
            "  received: 2 missing in a batch of 3 rows\n"
            "  next:     fill them in, or make the feature optional: take `shape` out of "
            "the schema",
        ),
        (
            pa.array([[1, 2], [3]]),
            tf.io.FixedLenFeature([2], tf.int64),
            "A sequence does not have the length that its schema says.\n"
            "  where:    feature 'x'\n"
            "  expected: 2 values in each row\n"
            "  received: lengths 1 to 2\n"
            "  next:     pad the sequences while they are made, or change `shape` in the schema",
        ),
        (
            pa.array([[1], [3]]),
            WHOLE,
            "A feature does not have the shape that its schema says.\n"
            "  where:    feature 'x'\n"
            "  expected: shape [] in each row\n"
            "  received: list<item: int64>\n"
            "  next:     change `shape` in the schema, or the column",
        ),
        (
            pa.array([1.5]),
            WHOLE,
            "A feature has another type than its schema says.\n"
            "  where:    feature 'x'\n"
            "  expected: values that fit int64\n"
            "  received: double: Float value 1.5 was truncated converting to int64\n"
            "  next:     change `type` in the schema, or the column",
        ),
        (
            pa.array([7]),
            TEXT,
            "A feature has another type than its schema says.\n"
            "  where:    feature 'x'\n"
            "  expected: values that fit binary\n"
            "  received: int64: int64 is not text\n"
            "  next:     change `type` in the schema, or the column",
        ),
        (
            pa.array([["a", None]]),
            OPTIONAL_TEXT,
            "A list has a missing value inside.\n"
            "  where:    feature 'x'\n"
            "  expected: lists of values; a row without values has an empty list or a null\n"
            "  received: 1 nulls inside lists\n"
            "  next:     leave the missing values out of the lists",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused(column: pa.Array, spec: object, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read(column, spec)

    assert str(refusal.value) == message


def test_features_that_are_not_fed_are_blank_and_need_no_column() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1.0, 2.0])], ["x"])
    specs = {
        "x": NUMBER,
        "label": tf.io.FixedLenFeature([2], tf.int64),
        "band": OPTIONAL_TEXT,
    }

    tensors = columns.to_tensors(batch, specs, {"x"})

    assert tensors["label"].numpy().tolist() == [[0, 0], [0, 0]]
    assert tensors["band"].dense_shape.numpy().tolist() == [2, 0]


def test_a_form_that_is_not_supported_is_refused() -> None:
    schema = text_format.Parse(
        """
        feature { name: "index" type: INT int_domain { min: 0 max: 9 } }
        feature { name: "value" type: FLOAT }
        sparse_feature {
          name: "pairs"
          index_feature { name: "index" }
          value_feature { name: "value" }
        }
        """,
        schema_pb2.Schema(),
    )

    with pytest.raises(UsageError) as refusal:
        columns.feature_specs(schema)

    assert str(refusal.value) == (
        "A feature has a form that is not supported.\n"
        "  where:    schema, feature 'pairs'\n"
        "  expected: a fixed shape, or no shape (optional)\n"
        "  received: SparseFeature\n"
        "  next:     describe the feature by `shape`, or without one"
    )


def test_transformed_tensors_become_columns_and_are_read_back() -> None:
    specs = {
        "number": NUMBER,
        "grid": tf.io.FixedLenFeature([2, 3], tf.int64),
        "text": TEXT,
        "some": tf.io.VarLenFeature(tf.int64),
    }
    tensors = {
        "number": tf.constant([0.5, 1.5]),
        "grid": tf.reshape(tf.range(12, dtype=tf.int64), [2, 2, 3]),
        "text": tf.constant(["a", "ü"]),
        "some": tf.SparseTensor([[1, 0], [1, 1]], tf.constant([4, 5], tf.int64), [2, 2]),
    }

    schema = columns.arrow_schema(specs)
    batch = columns.to_batch(tensors, schema)

    assert (
        str(schema.field("grid").type)
        == "fixed_size_list<item: fixed_size_list<item: int64>[3]>[2]"
    )
    assert batch.to_pydict() == {
        "number": [0.5, 1.5],
        "grid": [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]],
        "text": ["a", "ü"],
        "some": [[], [4, 5]],
    }
    again = columns.to_tensors(batch, specs, specs)
    assert again["grid"].numpy().tolist() == tensors["grid"].numpy().tolist()
    assert again["some"].indices.numpy().tolist() == [[1, 0], [1, 1]]
