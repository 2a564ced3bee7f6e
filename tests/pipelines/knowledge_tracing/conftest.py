"""Small sequences, and one tiny model that is trained and exported once for all tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.ingest import ingest
from components.join_features import join_features
from components.train import train
from components.transform import transform
from learnloop.artifacts import Examples, Model, Records, Schema, TransformGraph
from learnloop.component import CodeReference, Context
from pipelines.knowledge_tracing.pipeline import SERVICE
from pipelines.knowledge_tracing.windows import windows

Sequences = Sequence[tuple[Sequence[str], Sequence[int]]]
FOLDER = Path(__file__).parents[3] / "pipelines" / "knowledge_tracing"


def as_batch(sequences: Sequences, partition: str = "train") -> pa.RecordBatch:
    """Sequences as they are ingested."""
    columns = {
        "partition": pa.array([partition] * len(sequences), pa.string()),
        "sequence": pa.array(range(len(sequences)), pa.int64()),
        "skills": pa.array([list(skills) for skills, _ in sequences], pa.list_(pa.string())),
        "responses": pa.array([list(given) for _, given in sequences], pa.list_(pa.int64())),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def as_records(folder: Path, partitions: Mapping[str, Sequences]) -> Records:
    """Sequences of several partitions as an artifact."""
    records = Records.create(folder)
    records.write("sequences", (as_batch(rows, name) for name, rows in partitions.items()))
    return records


def ingested(source: Path, folder: Path) -> Records:
    """Real files as the ingest step reads them."""
    records = Records.create(folder / "records")
    quarantine = Records.create(folder / "quarantine")
    context = Context.for_test(folder)
    ingest.function(
        records, quarantine, source=str(source), layout="knowledge_tracing", context=context
    )
    return records


def make_examples(records: Records, folder: Path, **parameters: int) -> Examples:
    """What the pipeline learns from: windows, with their history from the feature view."""
    entities, examples = (Examples.create(folder / name) for name in ("entities", "examples"))
    features = Records.create(folder / "features")
    windows.function(records, entities, features, context=Context.for_test(folder), **parameters)
    join_features.function(entities, features, examples, service=CodeReference(SERVICE))
    return examples


def random_sequences(count: int, seed: int, longest: int = 12, skills: int = 5) -> Sequences:
    """Learners who do better the more often they have met a skill."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        length = int(generator.integers(2, longest + 1))
        asked = generator.integers(0, skills, length)
        met = [int(np.sum(asked[:step] == asked[step])) for step in range(length)]
        given = generator.random(length) < (np.array(met) + 1) / (np.array(met) + 2)
        made.append(([f"skill {number}" for number in asked], given.astype(int).tolist()))
    return made


@dataclass(frozen=True)
class Trained:
    """A model with what it was made from."""

    examples: Examples
    transformed: Examples
    model: Model


def train_model(
    folder: Path, partitions: Mapping[str, Sequences], *, epochs: int = 1, units: int = 8
) -> Trained:
    """Run windows, transform and train on sequences."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    folder.mkdir(exist_ok=True)
    context = Context.for_test(folder)
    records = as_records(folder / "records", partitions)
    examples = make_examples(records, folder, longest=8, carried=4)
    schema = Schema.create(folder / "schema")
    text = (FOLDER / "schema.pbtxt").read_text()
    schema.write(text_format.Parse(text, schema_pb2.Schema()))
    graph = TransformGraph.create(folder / "graph")
    transformed = Examples.create(folder / "transformed")
    transform.function(
        examples,
        schema,
        graph,
        transformed,
        preprocessing=CodeReference("pipelines.knowledge_tracing.features:preprocessing_fn"),
        context=context,
    )
    model = Model.create(folder / "model")
    train.function(
        transformed,
        graph,
        schema,
        None,
        model,
        model_builder=CodeReference("pipelines.knowledge_tracing.model:build_model"),
        label="correct",
        hyperparameters={"units": units, "embedding": 4, "history": 4, "hidden": 4},
        epochs=epochs,
        batch_size=16,
        learning_rate=0.01,
        context=context,
    )
    return Trained(examples, transformed, model)


PARTITIONS = {
    "train1": random_sequences(60, seed=1),
    "valid1": random_sequences(20, seed=2),
    "test": [*random_sequences(200, seed=3), (["never seen", "skill 1"], [1, 0])],
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_model(tmp_path_factory.mktemp("trained") / "model", PARTITIONS)


Signature = Callable[..., np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Served:
    """The exported model, loaded by plain TensorFlow."""

    next_step: Signature
    every_step: Signature


def load(saved_model: Path) -> Served:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))

    def signature(name: str) -> Signature:
        function = loaded.signatures[name]

        def call(
            skills: Sequence[Sequence[str]],
            responses: Sequence[Sequence[int]],
            next_skill: Sequence[str],
        ) -> np.ndarray[Any, Any]:
            time = max(map(len, skills))
            padded = [[*row, *[""] * (time - len(row))] for row in skills]
            given = [[*row, *[-1] * (time - len(row))] for row in responses]
            answer = function(
                skills=tf.reshape(tf.constant(padded, tf.string), [len(skills), time]),
                responses=tf.reshape(tf.constant(given, tf.int64), [len(skills), time]),
                next_skill=tf.constant(list(next_skill)),
            )
            result: np.ndarray[Any, Any] = answer["probability"].numpy()
            return result

        call.keeps = loaded  # type: ignore[attr-defined]  # the signature does not own the model
        return call

    return Served(signature("serving_default"), signature("every_step"))


@pytest.fixture(scope="session")
def served(trained: Trained) -> Served:
    return load(trained.model.saved_model)
