"""From examples to a served probability: the curated files agree, and the model takes raw rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.train import train
from components.transform import transform
from learnloop.artifacts import Examples, Model, Schema, TransformGraph
from learnloop.component import CodeReference, Context
from pipelines.learner_outcome.features import FEATURES, LABEL, PROTECTED, SLICES
from pipelines.learner_outcome.pipeline import learner_outcome

FOLDER = Path(__file__).parents[3] / "pipelines" / "learner_outcome"


@pytest.fixture(scope="module")
def curated() -> schema_pb2.Schema:
    return text_format.Parse((FOLDER / "schema.pbtxt").read_text(), schema_pb2.Schema())


def test_the_schema_names_the_features_the_label_and_the_slices(
    curated: schema_pb2.Schema,
) -> None:
    served = [f.name for f in curated.feature if "SERVING" not in f.not_in_environment]
    judged = [f.name for f in curated.feature if "SERVING" in f.not_in_environment]
    assert served == list(FEATURES)
    assert judged == [LABEL, *SLICES]
    assert set(PROTECTED) < set(SLICES)


def test_the_expectations_name_columns_that_exist(curated: schema_pb2.Schema) -> None:
    known = {feature.name for feature in curated.feature} | {"learner"}
    for expectation in json.loads((FOLDER / "expectations.json").read_text()):
        kwargs = expectation["kwargs"]
        named = [kwargs.get(name) for name in ("column", "column_A", "column_B")]
        named += kwargs.get("column_list", [])
        assert {name for name in named if name} <= known


def test_the_graph_runs_from_ingest_to_push() -> None:
    graph = learner_outcome.graph(source="anywhere", day=30, marking_days=14)
    assert list(graph.nodes) == [
        "ingest",
        "load_champion",
        "enrolments",
        "join_features",
        "statistics",
        "load_reference",
        "validate",
        "transform",
        "train",
        "evaluate",
        "infra_validate",
        "register",
        "push",
    ]
    assert graph.nodes["enrolments"].arguments["day"] == 30
    assert graph.nodes["enrolments"].arguments["marking_days"] == 14


def rows(count: int, seed: int) -> pa.Table:
    """Enrolments of which those with few clicks mostly fail."""
    draws = np.random.default_rng(seed)
    columns = {name: draws.random(count, np.float32) for name in FEATURES}
    columns["clicks"] = draws.lognormal(5, 1.5, count).astype(np.float32)
    fails = np.log1p(columns["clicks"]) + draws.normal(0, 0.7, count) < 5
    slices = {name: pa.array(["M"] * count) for name in SLICES}
    return pa.table({**columns, LABEL: fails.astype(np.int64), **slices})


def test_the_served_model_takes_raw_features_and_no_slice(
    curated: schema_pb2.Schema, tmp_path: Path
) -> None:
    (tmp_path / "scratch").mkdir()
    context = Context.for_test(tmp_path / "scratch")
    examples = Examples.create(tmp_path / "examples")
    for seed, name in enumerate(("train", "validation", "test")):
        examples.write(name, rows(2_000, seed))
    schema = Schema.create(tmp_path / "schema")
    schema.write(curated)
    graph = TransformGraph.create(tmp_path / "graph")
    transformed = Examples.create(tmp_path / "transformed")
    preprocessing = CodeReference("pipelines.learner_outcome.preprocessing:preprocess")
    transform.function(
        examples, schema, graph, transformed, preprocessing=preprocessing, context=context
    )
    scaled = transformed.table("train")
    assert set(scaled.column_names) == {*FEATURES, LABEL}
    for name in FEATURES:
        values = scaled[name].to_numpy()
        assert abs(values.mean()) < 0.02
        assert 0.95 < values.std() < 1.02
        assert np.abs(values).max() <= 6
    model = Model.create(tmp_path / "model")
    train.function(
        transformed,
        graph,
        schema,
        None,
        model,
        model_builder=CodeReference("pipelines.learner_outcome.model:build_model"),
        label=LABEL,
        epochs=5,
        batch_size=64,
        context=context,
    )
    inputs = [column["name"] for column in model.training["signature"]["inputs"]]
    assert sorted(inputs) == sorted(FEATURES)
    import tensorflow as tf

    served = model.load().signatures["serving_default"]
    asked = examples.table("test")
    probability = served(**{name: tf.constant(asked[name].to_numpy()) for name in FEATURES})[
        "probability"
    ].numpy()
    fails = asked[LABEL].to_numpy().astype(bool)
    assert probability[fails].mean() - probability[~fails].mean() > 0.3
