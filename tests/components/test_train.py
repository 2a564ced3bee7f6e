"""The train component from raw rows to an exported model, called as a plain function."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import compute

from components.engines.training.served import ServedModel
from components.engines.training.streaming import open_examples
from components.train import train
from learnloop.artifacts import Examples, Model, Schema, TransformGraph
from learnloop.component import CodeReference, Context
from learnloop.errors import UsageError
from tests.components.engines.training import models

pytestmark = pytest.mark.xdist_group("train")

SCHEMA = """
feature { name: "clicks" type: FLOAT shape {} presence { min_fraction: 1 } }
feature { name: "region" type: BYTES shape {} presence { min_fraction: 1 } }
feature { name: "score" type: FLOAT }
feature { name: "late" type: INT int_domain { min: -60 max: 60 } }
feature { name: "failed" type: INT shape {} presence { min_fraction: 1 } }
"""


def preprocess(raw):
    import tensorflow as tf
    import tensorflow_transform as tft

    def or_else(sparse, default):
        one = tf.SparseTensor(sparse.indices, sparse.values, [sparse.dense_shape[0], 1])
        return tf.sparse.to_dense(one, default)[:, 0]

    return {
        "clicks": tft.scale_to_z_score(raw["clicks"]),
        "region": tft.compute_and_apply_vocabulary(raw["region"], num_oov_buckets=1),
        "score": or_else(raw["score"], -5.0),
        "late": tf.cast(or_else(raw["late"], -99), tf.float32) / 60,
        "failed": raw["failed"],
    }


def raw_rows(rows: int, seed: int) -> pa.Table:
    generator = np.random.default_rng(seed)
    score = generator.normal(size=rows)
    clicks = generator.normal(size=rows).astype(np.float32)
    late = generator.integers(-2, 3, rows)
    return pa.table(
        {
            "clicks": clicks,
            "region": generator.choice(["North", "South", "West"], rows),
            "score": pa.array([v if v > 0 else None for v in score.tolist()], pa.float32()),
            "late": pa.array([v if v != 0 else None for v in late.tolist()], pa.int64()),
            "failed": (clicks + score > 0).astype(np.int64),
        }
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"), SCHEMA, preprocess, raw_rows)


def prepare(folder, schema_text, preprocessing_fn, make_rows):
    """Make raw and transformed examples, the schema and the transform graph."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    from components.engines.transform import fit_transform_graph, transform_batches

    schema = Schema.create(folder / "schema")
    schema.write(text_format.Parse(schema_text, schema_pb2.Schema()))
    raw = Examples.create(folder / "raw")
    for seed, (split, rows) in enumerate({"train": 400, "validation": 100, "test": 1000}.items()):
        raw.write(split, make_rows(rows, seed))
    graph = TransformGraph.create(folder / "graph")
    fit_transform_graph(preprocessing_fn, schema.load(), lambda: raw.batches("train"), graph.path)
    transformed = Examples.create(folder / "transformed")
    for split in raw.names:
        transformed.write(split, transform_batches(graph.path, raw.batches(split)))
    return raw, transformed, graph, schema


def trained(folder: Path, prepared, base=None, **parameters) -> Model:
    _, transformed, graph, schema = prepared
    model = Model.create(folder / "model")
    settings = {"model_builder": CodeReference(f"{models.__name__}:dense_model"), "epochs": 3}
    settings |= {"label": "failed", "batch_size": 64, **parameters}
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    context = Context.for_test(scratch)
    train.function(transformed, graph, schema, base, model, context=context, **settings)
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory, prepared):
    return trained(tmp_path_factory.mktemp("trained"), prepared)


def keras_answers(model: Model, transformed: Examples, label: str) -> np.ndarray:
    import keras

    from components.engines.training.fit import predict

    network = keras.saving.load_model(model.path / "model.keras")
    names = tuple(tensor.name for tensor in network.inputs)
    return predict(network, open_examples(transformed.file("test"), label=label, columns=names))


def test_exported_model_on_raw_rows_equals_the_training_graph(model, prepared):
    raw, transformed, *_ = prepared
    expected = keras_answers(model, transformed, "failed")
    answers = ServedModel(model.path)(raw.table("test"))
    assert answers.dtype == np.float64
    assert answers.shape == (1000,)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)
    assert np.ptp(answers) > 0.1


def test_classify_and_regress_take_serialised_examples(model, prepared):
    import tensorflow as tf

    raw, *_ = prepared
    table = raw.table("test").slice(0, 20)
    examples = []
    for row in table.to_pylist():
        feature = {
            "clicks": tf.train.Feature(float_list=tf.train.FloatList(value=[row["clicks"]])),
            "region": tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[row["region"].encode()])
            ),
        }
        if row["score"] is not None:
            feature["score"] = tf.train.Feature(float_list=tf.train.FloatList(value=[row["score"]]))
        if row["late"] is not None:
            feature["late"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[row["late"]]))
        examples.append(
            tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
        )
    loaded = model.load()
    expected = ServedModel(model.path)(table)
    regressed = loaded.signatures["regress"](inputs=tf.constant(examples))["outputs"]
    classified = loaded.signatures["classify"](inputs=tf.constant(examples))
    np.testing.assert_allclose(regressed, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(classified["scores"][:, 1], expected, rtol=0, atol=1e-6)
    assert classified["classes"].numpy().tolist() == [[b"0", b"1"]] * 20


def test_signatures_carry_the_method_names_of_tensorflow_serving(model):
    from tensorflow.core.protobuf import saved_model_pb2

    document = saved_model_pb2.SavedModel.FromString(
        (model.saved_model / "saved_model.pb").read_bytes()
    )
    signatures = document.meta_graphs[0].signature_def
    assert {name: s.method_name for name, s in signatures.items() if name[0] != "_"} == {
        "serving_default": "tensorflow/serving/predict",
        "classify": "tensorflow/serving/classify",
        "regress": "tensorflow/serving/regress",
    }


def test_training_document_describes_the_signature_and_the_curves(model):
    document = model.training
    assert document["signature"]["inputs"] == [
        {"name": "clicks", "dtype": "float32", "shape": [], "padding": None},
        {"name": "late", "dtype": "int64", "shape": [None], "padding": -(2**63)},
        {"name": "region", "dtype": "string", "shape": [], "padding": None},
        {"name": "score", "dtype": "float32", "shape": [None], "padding": "NaN"},
    ]
    assert document["signature"]["padding_side"] == "end"
    assert document["signature"]["longest_in_training"] == 1
    assert document["rows"] == {"train": 400, "validation": 100, "test": 1000}
    assert document["parameters"]["label"] == "failed"
    assert document["parameters"]["epochs"] == 3
    assert {name: len(curve) for name, curve in document["curves"].items()} == {
        "loss": 3,
        "validation_loss": 3,
        "validation_auc": 3,
    }
    assert document["curves"]["loss"][2] < document["curves"]["loss"][0]


def test_equal_training_gives_an_equal_digest_and_another_seed_another(tmp_path, prepared, model):
    again = trained(tmp_path / "again", prepared)
    other = trained(tmp_path / "other", prepared, seed=2)
    assert again.content_digest() == model.content_digest()
    assert other.content_digest() != model.content_digest()


def test_warm_start_goes_on_from_the_base(tmp_path, prepared, model):
    longer = trained(tmp_path / "longer", prepared, base=model, learning_rate=1e-5)
    assert longer.training["curves"]["loss"][0] < model.training["curves"]["loss"][1]


def test_warm_start_from_another_shape_names_the_layer(tmp_path, prepared, model):
    with pytest.raises(UsageError) as refusal:
        trained(tmp_path / "wider", prepared, base=model, hyperparameters={"units": 12})
    assert str(refusal.value) == (
        "The base model has other layers than the model to train.\n"
        "  where:    layer dense\n"
        "  expected: dense/kernel of shape [5, 12]\n"
        "  received: dense/kernel of shape [5, 8]\n"
        "  next:     train without a base, or with the hyperparameters of the base model"
    )


def test_a_label_that_was_not_transformed_is_refused(tmp_path, prepared):
    with pytest.raises(UsageError) as refusal:
        trained(tmp_path / "typo", prepared, label="faild")
    assert str(refusal.value) == (
        "There is no transformed column 'faild'.\n"
        "  where:    train\n"
        "  expected: did you mean 'failed'?\n"
        "  received: 'faild'\n"
        "  next:     return the column from preprocessing_fn, or name another"
    )


def test_a_validation_split_of_one_class_has_no_auc(tmp_path, prepared):
    _, transformed, graph, schema = prepared
    one_class = Examples.create(tmp_path / "one_class")
    one_class.write("train", transformed.table("train"))
    rows = transformed.table("validation")
    one_class.write("validation", rows.filter(compute.equal(rows["failed"], 0)))
    model = trained(tmp_path, (None, one_class, graph, schema), epochs=2)
    assert list(model.training["curves"]) == ["loss", "validation_loss"]


STEPS_SCHEMA = """
feature { name: "skills" type: BYTES }
feature { name: "responses" type: INT int_domain { min: 0 max: 1 } }
feature { name: "correct" type: INT }
"""


def preprocess_steps(raw):
    import tensorflow as tf
    import tensorflow_transform as tft

    skills = tft.compute_and_apply_vocabulary(raw["skills"], num_oov_buckets=1)
    answered = tf.SparseTensor(
        raw["responses"].indices, raw["responses"].values + 1, raw["responses"].dense_shape
    )
    return {"skills": skills, "answered": answered, "correct": raw["correct"]}


def raw_steps(rows: int, seed: int) -> pa.Table:
    table = models.sequences_table(rows // 8, seed)
    responses = [row[:-1] for row in table["correct"].to_pylist()]
    skills = [[f"s{skill}" for skill in row] for row in table["skills"].to_pylist()]
    before = pa.array([[0, *row] for row in responses], pa.list_(pa.int64()))
    return pa.table({"skills": pa.array(skills), "responses": before, "correct": table["correct"]})


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    prepared = prepare(folder, STEPS_SCHEMA, preprocess_steps, raw_steps)
    builder = CodeReference(f"{models.__name__}:step_model")
    return prepared, trained(folder, prepared, model_builder=builder, label="correct")


def test_a_model_of_steps_answers_at_every_step_as_the_training_graph(steps):
    (raw, transformed, *_), model = steps
    expected = keras_answers(model, transformed, "correct")
    answers = ServedModel(model.path)(raw.table("test"))
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)
    assert len(answers) == sum(map(len, raw.table("test")["correct"].to_pylist()))


def test_serving_default_of_a_model_of_steps_is_the_last_step_however_padded(steps):
    import tensorflow as tf

    _, model = steps
    signatures = model.load().signatures
    skills, responses = ["s2", "s4", "s3"], [0, 1, 1]

    def ask(name: str, padding: int) -> np.ndarray:
        rows = {
            "skills": tf.constant([skills + [""] * padding, ["s1"] + [""] * (2 + padding)]),
            "responses": tf.constant(
                [responses + [-1] * padding, [0] + [-1] * (2 + padding)], tf.int64
            ),
        }
        return signatures[name](**rows)["probability"].numpy()

    every = ask("every_step", 0)
    last = ask("serving_default", 0)
    assert every.shape == (2, 3)
    assert every[1, 1:].tolist() == [-1.0, -1.0]
    assert last.tolist() == [every[0, 2], every[1, 0]]
    np.testing.assert_allclose(ask("serving_default", 4), last, rtol=0, atol=1e-6)


def test_training_document_says_how_sequences_are_padded(steps):
    signature = steps[1].training["signature"]
    assert signature["padding_side"] == "end"
    assert signature["longest_in_training"] == 11
    assert {c["name"]: c["padding"] for c in signature["inputs"]} == {"skills": "", "responses": -1}
    assert json.loads((steps[1].path / "training.json").read_text())["best_epoch"] >= 1
