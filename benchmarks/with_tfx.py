"""The same steps with TensorFlow Extended, for whoever has an environment with it.

CsvExampleGen, StatisticsGen, SchemaGen, ExampleValidator, Transform, Trainer, Evaluator and Pusher
on the local runner, with the features, the network, the epochs and the batches of the others. TFX
has neither Great Expectations nor MLflow, so it does less. It reads rows from TFRecord files,
trains by ``fit`` with an input for each feature, and judges with TensorFlow Model Analysis on Beam.

This runs with another Python than LearnLoop: it imports nothing of LearnLoop's.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# TFX 1.16 saves and reads models of Keras 2.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

PROJECT = Path(__file__).parent / "project"
EPOCHS, BATCH_ROWS = 5, 256
LEAST_AUC = 0.6

sys.path.insert(0, str(PROJECT))


def main(source: Path, home: Path) -> None:
    """Do all steps, and print the test AUC.

    Args:
        source: The CSV file.
        home: Where TFX's metadata and artifacts and the published model go.
    """
    from absl import logging
    from tfx import v1 as tfx

    logging.set_verbosity(logging.ERROR)
    components = _components(tfx, _folder_of(source, home), home / "models")
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="table",
        pipeline_root=str(home / "root"),
        components=list(components.values()),
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(home / "metadata.db")
        ),
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
    print(f"{_auc(home / 'root' / 'Evaluator' / 'evaluation'):.6f}")


def _folder_of(source: Path, home: Path) -> Path:
    """Copy the table into a folder of its own; TFX does not read names in quotes."""
    folder = home / "source"
    if not folder.exists():
        folder.mkdir(parents=True)
        with source.open("rb") as original, (folder / source.name).open("wb") as copy:
            copy.write(original.readline().replace(b'"', b""))
            shutil.copyfileobj(original, copy)
    return folder


def _components(tfx: Any, source: Path, models: Path) -> dict[str, Any]:
    import tensorflow_model_analysis as tfma

    split_config = tfx.proto.SplitConfig(
        splits=[
            tfx.proto.SplitConfig.Split(name=name, hash_buckets=buckets)
            for name, buckets in (("train", 14), ("eval", 3), ("test", 3))
        ],
        partition_feature_name="learner",
    )
    examples = tfx.components.CsvExampleGen(
        input_base=str(source), output_config=tfx.proto.Output(split_config=split_config)
    )
    rows = examples.outputs["examples"]
    statistics = tfx.components.StatisticsGen(examples=rows)
    schema = tfx.components.SchemaGen(
        statistics=statistics.outputs["statistics"], infer_feature_shape=True
    )
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = tfx.components.Transform(
        examples=rows,
        schema=schema.outputs["schema"],
        preprocessing_fn="benchmarks.with_tfx.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
    )
    trainer = tfx.components.Trainer(
        run_fn="benchmarks.with_tfx.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
    )
    threshold = tfma.GenericValueThreshold(lower_bound={"value": LEAST_AUC})
    judged_by = tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name="serving_default", label_key="y")],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(
                        class_name="AUC",
                        threshold=tfma.MetricThreshold(value_threshold=threshold),
                    ),
                    tfma.MetricConfig(class_name="BinaryCrossentropy"),
                    tfma.MetricConfig(class_name="MeanSquaredError"),
                ]
            )
        ],
    )
    evaluator = tfx.components.Evaluator(
        examples=rows,
        model=trainer.outputs["model"],
        eval_config=judged_by,
        example_splits=["test"],
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(models))
        ),
    )
    made = (examples, statistics, schema, validator, transform, trainer, evaluator, pusher)
    return {component.id: component for component in made}


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    """Make the features that the others make.

    Args:
        inputs: Raw columns, dense.
    """
    from pipelines.network import preprocess

    made: dict[str, Any] = preprocess(inputs)
    return made


def run_fn(arguments: Any) -> None:
    """Train the network and export it with the transform inside, as TFX's trainer asks for.

    Args:
        arguments: TFX's ``FnArgs``.
    """
    import tensorflow as tf
    import tensorflow_transform as tft
    from pipelines.network import LABEL
    from tfx_bsl.public.tfxio import TensorFlowDatasetOptions

    graph = tft.TFTransformOutput(arguments.transform_output)

    def rows(files: list[str]) -> Any:
        options = TensorFlowDatasetOptions(
            batch_size=BATCH_ROWS, num_epochs=1, label_key=LABEL, drop_final_batch=False
        )
        metadata = graph.transformed_metadata.schema
        return arguments.data_accessor.tf_dataset_factory(files, options, metadata)

    tf.keras.utils.set_random_seed(1)
    model = _network(tf.keras)
    model.compile(tf.keras.optimizers.Adam(1e-3), "binary_crossentropy")
    model.fit(
        rows(arguments.train_files),
        validation_data=rows(arguments.eval_files),
        epochs=EPOCHS,
        verbose=0,
    )
    model.tft_layer = graph.transform_features_layer()
    raw = graph.raw_feature_spec()
    raw.pop(LABEL)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(serialized: Any) -> dict[str, Any]:
        features = model.tft_layer(tf.io.parse_example(serialized, raw))
        return {"probability": model(features)}

    model.save(arguments.serving_model_dir, save_format="tf", signatures={"serving_default": serve})


def _network(keras: Any) -> Any:
    """Build the network of :mod:`pipelines.network` in Keras 2."""
    from pipelines.network import CATEGORIES, NUMBERS

    inputs = {name: keras.Input((1,), name=name) for name in NUMBERS}
    inputs |= {name: keras.Input((1,), name=name, dtype="int64") for name in CATEGORIES}
    parts = [inputs[name] for name in NUMBERS]
    for name in CATEGORIES:
        parts.append(keras.layers.Flatten()(keras.layers.Embedding(16, 4)(inputs[name])))
    hidden = keras.layers.Concatenate()(parts)
    for _ in range(2):
        hidden = keras.layers.Dense(64, activation="relu")(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))


def _auc(evaluations: Path) -> float:
    import tensorflow_model_analysis as tfma

    newest = max(evaluations.iterdir(), key=lambda folder: int(folder.name))
    (_, metrics), *_ = tfma.load_eval_result(str(newest)).slicing_metrics
    return float(metrics[""][""]["auc"]["doubleValue"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
