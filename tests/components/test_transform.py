"""The transform component, called as a plain function on artifacts in a temporary folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.transform import transform
from learnloop.artifacts import Examples, Schema, TransformGraph
from learnloop.component import CodeReference, Context
from learnloop.errors import UsageError

SCHEMA = """
feature { name: "clicks" type: FLOAT shape {} presence { min_fraction: 1 } }
feature { name: "region" type: BYTES shape {} presence { min_fraction: 1 } }
feature { name: "failed" type: INT shape {} presence { min_fraction: 1 } }
"""


def preprocess(inputs: dict[str, Any]) -> dict[str, Any]:
    """Scale, number, pass the label through."""
    import tensorflow_transform as tft

    return {
        "clicks": tft.scale_to_z_score(inputs["clicks"]),
        "region": tft.compute_and_apply_vocabulary(inputs["region"], num_oov_buckets=1),
        "failed": inputs["failed"],
    }


def preprocess_twice(inputs: dict[str, Any]) -> dict[str, Any]:
    """Another function with the same result."""
    return preprocess(inputs)


def rows(count: int, seed: int, regions: list[str]) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "learner": [f"learner {number}" for number in range(count)],
            "clicks": random.normal(5.0, 2.0, count),
            "region": random.choice(regions, count),
            "failed": random.integers(0, 2, count),
        }
    )


def run(
    folder: Path, splits: dict[str, pa.Table], preprocessing: str = "preprocess", **parameters: str
) -> tuple[TransformGraph, Examples]:
    folder.mkdir()
    examples = Examples.create(folder / "examples")
    for name, table in splits.items():
        examples.write(name, table)
    schema = Schema.create(folder / "schema")
    schema.write(text_format.Parse(SCHEMA, schema_pb2.Schema()))
    graph = TransformGraph.create(folder / "graph")
    transformed = Examples.create(folder / "transformed")
    transform.function(
        examples,
        schema,
        graph,
        transformed,
        preprocessing=CodeReference(f"{__name__}:{preprocessing}"),
        context=Context.for_test(folder),
        **parameters,
    )
    return graph, transformed


TRAIN = rows(200, seed=1, regions=["North", "South"])
VALIDATION = rows(30, seed=2, regions=["North", "South"])
TEST = rows(50, seed=3, regions=["North", "West"])
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def test_every_split_is_transformed(tmp_path: Path) -> None:
    graph, transformed = run(tmp_path / "run", SPLITS)

    assert transformed.counts == {"train": 200, "validation": 30, "test": 50}
    assert transformed.schema("test").names == ["clicks", "failed", "region"]
    clicks = TRAIN["clicks"].to_numpy()
    np.testing.assert_allclose(
        transformed.table("test")["clicks"].to_numpy(),
        (TEST["clicks"].to_numpy() - clicks.mean()) / clicks.std(),
        atol=1e-5,
    )
    is_unknown = np.array(TEST["region"].to_pylist()) == "West"
    assert (transformed.table("test")["region"].to_numpy() == 2).tolist() == is_unknown.tolist()
    assert graph.metadata == {
        "analyzed": "train",
        "engine": "memory",
        "reason": "",
        "features": ["clicks", "failed", "region"],
    }
    assert "learner" not in (graph.path / "transform_fn" / "saved_model.pb").read_text("latin-1")


def test_the_graph_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    graph, transformed = run(tmp_path / "one", SPLITS)
    other_test = rows(70, seed=9, regions=["Wales"])
    same_graph, other = run(tmp_path / "two", {**SPLITS, "test": other_test})
    other_train = rows(200, seed=8, regions=["North", "South"])
    other_graph, _ = run(tmp_path / "three", {**SPLITS, "train": other_train})

    assert same_graph.content_digest() == graph.content_digest()
    assert other.table("train").equals(transformed.table("train"))
    assert other.content_digest() != transformed.content_digest()
    assert other_graph.content_digest() != graph.content_digest()


def test_the_digest_covers_the_code(tmp_path: Path) -> None:
    graph, _ = run(tmp_path / "one", SPLITS)
    by_other_code, _ = run(tmp_path / "two", SPLITS, preprocessing="preprocess_twice")

    assert by_other_code.content_digest() != graph.content_digest()


def test_a_split_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        run(tmp_path / "run", SPLITS, analyze_split="trian")

    assert str(refusal.value) == (
        "There is no such split to analyze.\n"
        "  where:    examples\n"
        "  expected: did you mean 'train'?\n"
        "  received: 'trian'"
    )


def test_a_split_without_the_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        run(tmp_path / "run", {**SPLITS, "test": TEST.drop(["failed"])})

    assert str(refusal.value) == (
        "The data lacks features that the preprocessing function reads.\n"
        "  where:    split test\n"
        "  expected: the columns clicks, failed, region\n"
        "  received: no column failed\n"
        "  next:     mend the ingested data, or take the feature out of the schema and the function"
    )
