from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2

from components.engines.transform import (
    digest_transform_graph,
    fit_transform_graph,
    serving_transform,
    transform_batches,
    transformed_schema,
)
from components.engines.transform.fit import Engine
from learnloop.errors import UsageError

Features = dict[str, Any]


def preprocess(inputs: Features) -> Features:
    return {
        "clicks": tft.scale_to_z_score(inputs["clicks"]),
        "region": tft.compute_and_apply_vocabulary(
            inputs["region"], vocab_filename="regions", num_oov_buckets=1
        ),
        "band": tft.compute_and_apply_vocabulary(inputs["band"], vocab_filename="bands"),
        "skills": inputs["skills"],
        "failed": inputs["failed"],
    }


@pytest.fixture(scope="module")
def graph(
    learners: pa.Table, schema: schema_pb2.Schema, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("transform") / "graph"
    report = fit_transform_graph(preprocess, schema, learners.to_batches, folder)
    assert (report.engine, report.reason) == ("memory", "")
    assert report.used == ("band", "clicks", "failed", "region", "skills")
    return folder


def test_the_rows_are_scaled_and_numbered(graph: Path, learners: pa.Table) -> None:
    transformed = pa.Table.from_batches(transform_batches(graph, learners.to_batches()))

    clicks = learners["clicks"].to_numpy()
    expected = (clicks - clicks.mean()) / clicks.std()
    np.testing.assert_allclose(transformed["clicks"].to_numpy(), expected, atol=1e-5)
    vocabulary = tft.TFTransformOutput(str(graph)).vocabulary_by_name("regions")
    numbers = transformed["region"].to_numpy()
    assert [vocabulary[number].decode() for number in numbers[:50]] == (
        learners["region"][:50].to_pylist()
    )
    assert transformed["skills"].to_pylist() == learners["skills"].to_pylist()
    assert transformed["failed"].equals(learners["failed"])
    has_band = [len(numbers) == 1 for numbers in transformed["band"].to_pylist()]
    assert has_band == learners["band"].is_valid().to_pylist()


def test_tensorflow_transform_opens_the_folder(graph: Path, schema: schema_pb2.Schema) -> None:
    output = tft.TFTransformOutput(str(graph))

    assert output.vocabulary_size_by_name("regions") == 6
    assert output.num_buckets_for_transformed_feature("region") == 7
    assert set(output.raw_feature_spec()) == {feature.name for feature in schema.feature}
    assert json.loads((graph / "transformed_metadata" / "asset_map").read_text()) == {
        "regions": "regions",
        "bands": "bands",
    }


def test_columns_are_described_without_loading_the_graph(graph: Path) -> None:
    assert transformed_schema(graph) == pa.schema(
        {
            "band": pa.list_(pa.int64()),
            "clicks": pa.float32(),
            "failed": pa.int64(),
            "region": pa.int64(),
            "skills": pa.list_(pa.string(), 4),
        }
    )


def test_equal_rows_give_an_equal_graph_however_they_are_cut(
    graph: Path, learners: pa.Table, schema: schema_pb2.Schema, tmp_path: Path
) -> None:
    def small_batches() -> Iterator[pa.RecordBatch]:
        yield from learners.to_batches(max_chunksize=777)

    fit_transform_graph(preprocess, schema, small_batches, tmp_path / "again")

    assert digest_transform_graph(tmp_path / "again") == digest_transform_graph(graph)


@pytest.mark.parametrize("changed", ["clicks", "region"])
def test_other_rows_give_another_digest(
    changed: str, graph: Path, learners: pa.Table, schema: schema_pb2.Schema, tmp_path: Path
) -> None:
    values = {"clicks": 1e6, "region": "Nowhere"}
    column = pa.array([values[changed], *learners[changed].to_pylist()[1:]])
    others = learners.set_column(learners.schema.names.index(changed), changed, column)

    fit_transform_graph(preprocess, schema, others.to_batches, tmp_path / "other")

    assert digest_transform_graph(tmp_path / "other") != digest_transform_graph(graph)


def test_an_export_holds_the_graph_and_asks_only_for_what_it_needs(
    graph: Path, learners: pa.Table, tmp_path: Path
) -> None:
    transform = serving_transform(graph, ["clicks", "region"])
    assert sorted(transform.raw) == ["clicks", "region"]
    module = tf.Module()
    module.transform = transform.module

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.string)]
    )
    def serve(clicks: tf.Tensor, region: tf.Tensor) -> Features:
        return transform.apply({"clicks": clicks, "region": region})

    tf.saved_model.save(module, str(tmp_path / "export"), {"serving_default": serve})
    moved = (tmp_path / "export").rename(tmp_path / "elsewhere")
    served = tf.saved_model.load(str(moved)).signatures["serving_default"](
        clicks=tf.constant(learners["clicks"][:100].to_numpy(), tf.float32),
        region=tf.constant(["Atlantis", *learners["region"][1:100].to_pylist()]),
    )

    rows = next(iter(transform_batches(graph, learners.slice(0, 100).to_batches())))
    assert served["clicks"].numpy().tolist() == rows["clicks"].to_pylist()
    assert served["region"].numpy().tolist() == [6, *rows["region"].to_pylist()[1:]]


def test_an_optional_feature_is_served_as_a_sparse_tensor(graph: Path) -> None:
    transform = serving_transform(graph, ["band"])
    vocabulary = tft.TFTransformOutput(str(graph)).vocabulary_by_name("bands")
    raw = tf.SparseTensor([[0, 0], [2, 0]], [vocabulary[2], vocabulary[0]], [3, 1])

    band = transform.apply({"band": raw})["band"]

    assert band.indices.numpy().tolist() == [[0, 0], [2, 0]]
    assert band.values.numpy().tolist() == [2, 0]


def test_an_output_that_the_graph_lacks_is_refused(graph: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        serving_transform(graph, ["click"])

    assert str(refusal.value) == (
        "The transform graph has no such output.\n"
        "  where:    graph\n"
        "  expected: did you mean 'clicks'?\n"
        "  received: 'click'"
    )


def test_data_without_a_feature_is_refused(
    graph: Path, learners: pa.Table, schema: schema_pb2.Schema, tmp_path: Path
) -> None:
    unlabelled = learners.drop(["failed", "band"])
    message = (
        "The data lacks features that the preprocessing function reads.\n"
        "  where:    {where}\n"
        "  expected: the columns band, clicks, failed, region, skills\n"
        "  received: no column band, failed\n"
        "  next:     mend the ingested data, or take the feature out of the schema and the function"
    )

    with pytest.raises(UsageError) as refusal:
        fit_transform_graph(preprocess, schema, unlabelled.to_batches, tmp_path / "graph")
    assert str(refusal.value) == message.format(where="the split to analyze")

    with pytest.raises(UsageError) as refusal:
        next(iter(transform_batches(graph, unlabelled.to_batches(), where="split test")))
    assert str(refusal.value) == message.format(where="split test")


def test_a_function_that_reads_an_unknown_feature_is_refused(
    learners: pa.Table, schema: schema_pb2.Schema, tmp_path: Path
) -> None:
    def misspelt(inputs: Features) -> Features:
        return {"clicks": inputs["cliks"]}

    with pytest.raises(UsageError) as refusal:
        fit_transform_graph(misspelt, schema, learners.to_batches, tmp_path / "graph")

    assert str(refusal.value) == (
        "The preprocessing function reads a feature that the schema does not have.\n"
        f"  where:    {__name__}:{misspelt.__qualname__}\n"
        "  expected: did you mean 'clicks'?\n"
        "  received: 'cliks'\n"
        "  next:     add the feature to the curated schema, or mend the name in the function"
    )


def test_a_function_that_returns_no_tensors_is_refused(
    learners: pa.Table, schema: schema_pb2.Schema, tmp_path: Path
) -> None:
    def nothing(inputs: Features) -> Features:
        return {}

    with pytest.raises(UsageError) as refusal:
        fit_transform_graph(nothing, schema, learners.to_batches, tmp_path / "graph")

    assert str(refusal.value) == (
        "The preprocessing function must return the transformed features.\n"
        f"  where:    {__name__}:{nothing.__qualname__}\n"
        "  expected: a dict of tensors by name\n"
        "  received: {}"
    )


@pytest.mark.parametrize("engine", ["memory", "beam"])
def test_no_rows_are_refused(
    engine: Engine, learners: pa.Table, schema: schema_pb2.Schema, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refusal:
        fit_transform_graph(
            preprocess, schema, learners[:0].to_batches, tmp_path / "graph", engine=engine
        )

    assert str(refusal.value) == (
        "There are no rows to analyze.\n"
        "  where:    the split to analyze\n"
        "  expected: at least one row\n"
        "  received: 0 rows\n"
        "  next:     check the split and the filters of the ingested data"
    )


def test_fits_in_parallel_branches_do_not_disturb_each_other(
    graph: Path, learners: pa.Table, schema: schema_pb2.Schema, tmp_path: Path
) -> None:
    def fit(name: str) -> str:
        fit_transform_graph(preprocess, schema, learners.to_batches, tmp_path / name)
        return digest_transform_graph(tmp_path / name)

    with ThreadPoolExecutor(3) as threads:
        digests = set(threads.map(fit, ["one", "two", "three"]))

    assert digests == {digest_transform_graph(graph)}


def test_an_analyzer_that_memory_does_not_claim_goes_to_beam(
    learners: pa.Table, schema: schema_pb2.Schema, tmp_path: Path
) -> None:
    def informative(inputs: Features) -> Features:
        return {
            "region": tft.compute_and_apply_vocabulary(
                inputs["region"], labels=inputs["failed"], vocab_filename="informative"
            )
        }

    few = learners[:2_000]
    report = fit_transform_graph(informative, schema, few.to_batches, tmp_path / "graph")

    assert report.engine == "beam"
    assert report.reason == "a vocabulary ordered by mutual information"
    assert report.used == ("failed", "region")
    output = tft.TFTransformOutput(str(tmp_path / "graph"))
    assert sorted(output.vocabulary_by_name("informative")) == sorted(
        name.encode() for name in set(few["region"].to_pylist())
    )
