"""The same steps by hand: the fastest calls of the same libraries, in one script, no framework.

CSV by pyarrow, TFDV statistics in memory, Great Expectations in an ephemeral context, real
TensorFlow Transform without Beam, a whole epoch in one ``tf.function`` over one packed array, a
SavedModel over raw columns, scikit-learn's AUC, MLflow with its requirements given, a copy under
the serving path. It keeps nothing for a second run: no cache, no checks of bytes, no lineage.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"

PROJECT = Path(__file__).parent / "project"
EPOCHS, BATCH_ROWS = 5, 256
STATISTICS_COLUMNS = [*(f"x{i}" for i in range(10)), "a", "b", "y", "learner"]


def main(source: Path, home: Path) -> None:
    """Do all steps.

    Args:
        source: The CSV file.
        home: Where MLflow's store and the published model go.
    """
    sys.path.insert(0, str(PROJECT))
    splits = _read(source)
    schema = _validate(splits)
    graph, transformed = _transform(splits, schema, home)
    model = _train(transformed)
    exported = _export(model, graph, home)
    auc = _evaluate(exported, splits["test"])
    _register(exported, auc, home)
    shutil.copytree(exported, home / "models" / ".incoming")
    (home / "models" / ".incoming").rename(home / "models" / "1")
    print(f"{auc:.6f}")


def _read(source: Path) -> dict[str, Any]:
    import numpy as np
    import pyarrow.csv as csv

    table = csv.read_csv(source)
    learners = table["learner"].to_numpy()
    share = (learners * 2654435761 % 2**32) / 2**32
    place = np.select([share < 0.15, share < 0.3], [2, 1], 0)
    names = ("train", "validation", "test")
    return {name: table.filter(place == number) for number, name in enumerate(names)}


def _validate(splits: dict[str, Any]) -> Any:
    import json

    import great_expectations as gx
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics import stats_impl, stats_options

    statistics = {}
    for name, table in splits.items():
        statistics[name] = stats_impl.generate_statistics_in_memory(
            _lists(table), stats_options.StatsOptions()
        )
    schema = tfdv.infer_schema(statistics["train"])
    for feature in schema.feature:
        del feature.shape.dim[:]
    for one in statistics.values():
        assert not tfdv.validate_statistics(one, schema).anomaly_info
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    suite = gx.ExpectationSuite("suite")
    columns = set()
    for one in json.loads((PROJECT / "expectations.json").read_text()):
        columns.add(one["kwargs"]["column"])
        kind = "".join(word.capitalize() for word in one["type"].split("_"))
        suite.add_expectation(getattr(gx.expectations, kind)(**one["kwargs"]))
    source = context.data_sources.add_pandas("pandas")
    batch = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    for table in splits.values():
        frame = table.select(sorted(columns)).to_pandas()
        assert batch.get_batch(batch_parameters={"dataframe": frame}).validate(suite).success
    return schema


def _lists(table: Any) -> Any:
    """Give TFDV what it takes: one record batch of list columns, without copying values."""
    import numpy as np
    import pyarrow as pa

    offsets = pa.array(np.arange(table.num_rows + 1, dtype=np.int32))
    arrays = []
    for name in STATISTICS_COLUMNS:
        column = table[name].combine_chunks()
        column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        arrays.append(pa.ListArray.from_arrays(offsets, column))
    return pa.RecordBatch.from_arrays(arrays, STATISTICS_COLUMNS)


def _transform(splits: dict[str, Any], schema: Any, home: Path) -> tuple[Path, dict[str, Any]]:
    import pyarrow as pa
    from pipelines.network import preprocess

    from components.engines.transform import fit_transform_graph, transform_batches

    def batches(name: str) -> Any:
        return splits[name].to_batches(262_144)

    graph = home / "graph"
    fit_transform_graph(preprocess, schema, lambda: batches("train"), graph)
    transformed = {
        name: pa.Table.from_batches(transform_batches(graph, batches(name))) for name in splits
    }
    return graph, transformed


def _pack(table: Any) -> tuple[Any, Any, Any]:
    import numpy as np
    from pipelines.network import CATEGORIES, LABEL, NUMBERS

    def column(name: str) -> Any:
        return table[name].to_numpy()

    numbers = np.stack([column(name) for name in NUMBERS], axis=1).astype(np.float32)
    categories = np.stack([column(name) for name in CATEGORIES], axis=1).astype(np.int32)
    return numbers, categories, column(LABEL).astype(np.float32)


def _train(transformed: dict[str, Any]) -> Any:
    import keras
    import tensorflow as tf
    from pipelines.network import CATEGORIES, NUMBERS, build_model

    numbers, categories, labels = map(tf.constant, _pack(transformed["train"]))
    validation = tuple(map(tf.constant, _pack(transformed["validation"])))
    keras.utils.set_random_seed(1)
    kinds = {**dict.fromkeys(NUMBERS, "float32"), **dict.fromkeys(CATEGORIES, "int32")}
    features = {
        name: SimpleNamespace(
            input=lambda name=name, kind=kind: keras.Input((1,), name=name, dtype=kind)
        )
        for name, kind in kinds.items()
    }
    model = build_model(features)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)

    def inputs(number: Any, category: Any) -> dict[str, Any]:
        return {
            **{name: number[:, i : i + 1] for i, name in enumerate(NUMBERS)},
            **{name: category[:, i : i + 1] for i, name in enumerate(CATEGORIES)},
        }

    loss_of = keras.losses.BinaryCrossentropy()

    @tf.function
    def epoch(order: Any) -> Any:
        total = tf.constant(0.0)
        for start in tf.range(0, tf.shape(order)[0] - BATCH_ROWS + 1, BATCH_ROWS):
            chosen = order[start : start + BATCH_ROWS]
            batch = inputs(tf.gather(numbers, chosen), tf.gather(categories, chosen))
            with tf.GradientTape() as tape:
                answer = model(batch, training=True)
                loss = loss_of(tf.gather(labels, chosen)[:, None], answer)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            total += loss
        return total

    @tf.function
    def judge() -> Any:
        answer = model(inputs(*validation[:2]), training=False)
        return loss_of(validation[2][:, None], answer)

    for number in range(EPOCHS):
        epoch(tf.random.experimental.stateless_shuffle(tf.range(len(labels)), [1, number]))
        judge()
    return model


def _export(model: Any, graph: Path, home: Path) -> Path:
    import tensorflow as tf

    from components.engines.transform import serving_transform

    transform = serving_transform(graph, [tensor.name for tensor in model.inputs])
    module = tf.Module()
    module.transform = transform.module
    module.weights = [variable.value for variable in model.variables]
    specs = {
        name: tf.TensorSpec([None], spec.dtype, name=name) for name, spec in transform.raw.items()
    }

    def answer(**raw: Any) -> dict[str, Any]:
        columns = {name: tensor[:, None] for name, tensor in transform.apply(raw).items()}
        return {"probability": tf.reshape(model(columns, training=False), [-1])}

    signature = tf.function(answer, autograph=False).get_concrete_function(**specs)
    exported = home / "exported"
    tf.saved_model.save(module, str(exported), {"serving_default": signature})
    return exported


def _evaluate(exported: Path, test: Any) -> float:
    import tensorflow as tf
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    loaded = tf.saved_model.load(str(exported))
    signature = loaded.signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    rows = {
        name: tf.constant(test[name].to_numpy(), dtype=spec.dtype) for name, spec in specs.items()
    }
    scores = signature(**rows)["probability"].numpy()
    labels = test["y"].to_numpy()
    log_loss(labels, scores)
    brier_score_loss(labels, scores)
    return float(roc_auc_score(labels, scores))


def _register(exported: Path, auc: float, home: Path) -> None:
    import logging

    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
    mlflow.create_experiment("table", artifact_location=(home / "artifacts").as_uri())
    mlflow.set_experiment("table")
    with mlflow.start_run() as run:
        mlflow.log_metrics({"auc": auc})
        mlflow.log_params({"epochs": EPOCHS})
        mlflow.log_artifacts(str(exported), "model")
    client = mlflow.MlflowClient()
    client.create_registered_model("table")
    source = f"{run.info.artifact_uri}/model"
    version = client.create_model_version("table", source, run.info.run_id)
    client.set_registered_model_alias("table", "challenger", version.version)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1]), Path(folder))
