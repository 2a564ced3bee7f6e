"""Each analyzer that the engine in memory claims gives what TensorFlow Transform on Beam gives.

Equal transformed values to the last bit, equal vocabulary files, equal transformed schema; and an
equal graph when it is fitted again. A run of Beam takes some seconds, so the usual analyzers share
one; the others run with the slow tests.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2

from components.engines.transform import (
    digest_transform_graph,
    fit_transform_graph,
    transform_batches,
)

Features = dict[str, Any]


def usual(inputs: Features) -> Features:
    """What the pipelines of this repository use: scaling, buckets, vocabularies; two phases."""
    clicks = inputs["clicks"]
    buckets = tft.bucketize(clicks, 8)
    return {
        "z_score": tft.scale_to_z_score(clicks),
        "between_0_1": tft.scale_to_0_1(inputs["score"]),
        "buckets": buckets,
        "scaled_buckets": tft.scale_to_z_score(tf.cast(buckets, tf.float32)),
        "site": tft.compute_and_apply_vocabulary(
            inputs["site"], vocab_filename="sites", top_k=20, num_oov_buckets=2
        ),
        "skills": tft.compute_and_apply_vocabulary(inputs["skills"], vocab_filename="skills"),
        "band": tft.compute_and_apply_vocabulary(inputs["band"], vocab_filename="bands"),
        "failed": inputs["failed"],
    }


def scalars(inputs: Features) -> Features:
    """One number for all rows, of each kind."""
    clicks = inputs["clicks"]
    credits = tf.cast(inputs["credits"], tf.float32)
    return {
        "mean": clicks - tft.mean(clicks),
        "variance": clicks / tft.var(clicks),
        "least": clicks - tft.min(clicks),
        "greatest": inputs["credits"] - tft.max(inputs["credits"]),
        "total": inputs["credits"] + tft.sum(inputs["credits"]),
        "between": tft.scale_by_min_max(credits, -1.0, 1.0),
        "responses": tf.cast(inputs["responses"], tf.float32) - tft.mean(inputs["responses"]),
        "failed": inputs["failed"],
    }


def per_column(inputs: Features) -> Features:
    """Reductions over the rows only."""
    responses = tf.cast(inputs["responses"], tf.float32)
    return {
        "mean": responses - tft.mean(responses, reduce_instance_dims=False),
        "variance": responses - tft.var(responses, reduce_instance_dims=False),
        "z_score": tft.scale_to_z_score(responses, elementwise=True),
        "between_0_1": tft.scale_to_0_1(responses, elementwise=True),
        "total": inputs["responses"] - tft.sum(inputs["responses"], reduce_instance_dims=False),
        "least": responses - tft.min(responses, reduce_instance_dims=False),
        "greatest": responses - tft.max(responses, reduce_instance_dims=False),
        "size": inputs["responses"] * 0 + tft.size(inputs["responses"]),
        "covariance": responses @ tft.covariance(responses, tf.float32),
        "principal_components": responses @ tft.pca(responses, 2, tf.float32),
    }


def summary(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """One number for a vector, in each row; the order of the values counts."""
    values = tf.cast(tf.reshape(values, [-1]), tf.float32)
    weights = tf.range(1, tf.size(values) + 1)
    return tf.zeros_like(like) + tf.reduce_sum(values * tf.cast(weights, tf.float32))


def distributions(inputs: Features) -> Features:
    """Quantiles, histograms, moments beyond the second."""
    clicks = inputs["clicks"]
    quantiles = tft.quantiles(clicks, 10, epsilon=0.01)
    histogram, edges = tft.histogram(clicks, boundaries=12)
    return {
        "quantiles": summary(quantiles, clicks),
        "applied": tft.apply_buckets(clicks, quantiles),
        "interpolated": tft.apply_buckets_with_interpolation(clicks, quantiles),
        "histogram": summary(histogram, clicks),
        "edges": summary(edges, clicks),
        "weighted": tft.bucketize(clicks, 4, weights=inputs["score"] * 0 + 1.0),
        "elementwise": tft.bucketize(tf.cast(inputs["responses"], tf.float32), 3, elementwise=True),
        "location": clicks - tft.tukey_location(clicks),
        "gaussian": tft.scale_to_gaussian(clicks),
    }


def per_key(inputs: Features) -> Features:
    """Analyzers that keep something for each region."""
    clicks, region = inputs["clicks"], inputs["region"]
    keys, counts = tft.count_per_key(region)
    return {
        "z_score": tft.scale_to_z_score_per_key(clicks, region),
        "between_0_1": tft.scale_to_0_1_per_key(clicks, region),
        "between_0_1_stored": tft.scale_to_0_1_per_key(
            clicks, region, key_vocabulary_filename="ranges"
        ),
        "z_score_stored": tft.scale_to_z_score_per_key(
            clicks, region, key_vocabulary_filename="moments"
        ),
        "buckets": tft.bucketize_per_key(clicks, region, 4),
        "keys": summary(tf.strings.to_hash_bucket_fast(keys, 100), clicks),
        "counts": summary(counts, clicks),
    }


def vocabularies(inputs: Features) -> Features:
    """The options of vocabularies."""
    site, score = inputs["site"], inputs["score"]
    tft.vocabulary(inputs["region"], vocab_filename="only_written", store_frequency=True)
    tft.count_per_key(site, key_vocabulary_filename="counts_of_sites")
    return {
        "frequent": tft.compute_and_apply_vocabulary(
            site, vocab_filename="frequent", frequency_threshold=20, num_oov_buckets=1
        ),
        "numbers": tft.compute_and_apply_vocabulary(inputs["credits"], vocab_filename="numbers"),
        "weighted": tft.compute_and_apply_vocabulary(
            site, vocab_filename="weighted", weights=tf.round(score), top_k=50
        ),
        "shuffled": tft.compute_and_apply_vocabulary(
            site, vocab_filename="shuffled", fingerprint_shuffle=True
        ),
        "compressed": tft.compute_and_apply_vocabulary(
            site, vocab_filename="compressed", file_format="tfrecord_gzip", top_k=9
        ),
        "reserved": tft.compute_and_apply_vocabulary(
            site,
            vocab_filename="reserved",
            top_k=5,
            reserved_tokens=["padding", "site_0"],
        ),
        "empty": tft.compute_and_apply_vocabulary(
            site, vocab_filename="empty", frequency_threshold=10_000_000
        ),
        "empty_numbers": tft.compute_and_apply_vocabulary(
            inputs["credits"],
            vocab_filename="empty_numbers",
            frequency_threshold=10_000_000,
            top_k=3,
        ),
        "two_features": tft.apply_vocabulary(
            inputs["skills"],
            tft.vocabulary(
                tf.concat([inputs["skills"], site[:, tf.newaxis]], 1), vocab_filename="both"
            ),
        ),
        "hashed": tft.hash_strings(site, 100),
        "tfidf": tft.tfidf(
            tft.compute_and_apply_vocabulary(inputs["band"], vocab_filename="words"), 4
        )[1],
    }


def three_phases(inputs: Features) -> Features:
    """A vocabulary of buckets of a scaled number."""
    buckets = tft.bucketize(tft.scale_to_z_score(inputs["score"]), 5)
    names = tf.strings.join([inputs["region"], tf.strings.as_string(buckets)], "/")
    crossed = tft.compute_and_apply_vocabulary(names, vocab_filename="crossed")
    return {"crossed": tft.scale_to_z_score(crossed)}


def test_usual_analyzers(learners: pa.Table, schema: schema_pb2.Schema, tmp_path: Path) -> None:
    _assert_equal(usual, learners, schema, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "function", [scalars, per_column, distributions, per_key, vocabularies, three_phases]
)
def test_further_analyzers(
    function: Callable[[Features], Features],
    learners: pa.Table,
    schema: schema_pb2.Schema,
    tmp_path: Path,
) -> None:
    _assert_equal(function, learners, schema, tmp_path)


def _assert_equal(
    function: Callable[[Features], Features],
    learners: pa.Table,
    schema: schema_pb2.Schema,
    folder: Path,
) -> None:
    outputs = {}
    for engine in ("memory", "beam"):
        graph = folder / engine
        report = fit_transform_graph(function, schema, learners.to_batches, graph, engine=engine)
        assert report.engine == engine
        outputs[engine] = tft.TFTransformOutput(str(graph))
    fit_transform_graph(function, schema, learners.to_batches, folder / "again")
    assert digest_transform_graph(folder / "again") == digest_transform_graph(folder / "memory")
    ours, beams = outputs["memory"], outputs["beam"]
    assert _files(ours) == _files(beams)
    assert ours.transformed_metadata.schema == beams.transformed_metadata.schema
    for name in _files(ours):
        assert _asset(ours, name) == _asset(beams, name), name
    mine = pa.Table.from_batches(transform_batches(folder / "memory", learners.to_batches()))
    theirs = pa.Table.from_batches(transform_batches(folder / "beam", learners.to_batches()))
    assert mine.schema == theirs.schema
    for name in mine.schema.names:
        assert mine[name].equals(theirs[name]), name
    assert digest_transform_graph(folder / "beam") == digest_transform_graph(folder / "memory")


def _files(output: tft.TFTransformOutput) -> list[str]:
    folder = Path(output.transform_savedmodel_dir) / "assets"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def _asset(output: tft.TFTransformOutput, name: str) -> list[bytes]:
    path = Path(output.transform_savedmodel_dir) / "assets" / name
    if name.endswith(".gz"):
        dataset = tf.data.TFRecordDataset(str(path), compression_type="GZIP")
        return list(dataset.as_numpy_iterator())
    return path.read_bytes().splitlines()
