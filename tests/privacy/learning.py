"""A very small pipeline of OULAD tables: who ends an enrolment well."""

from __future__ import annotations

from typing import Any

from components.champion import load_champion
from components.evaluate import evaluate
from components.ingest import ingest
from components.push import push
from components.register import register
from components.statistics import statistics
from components.train import train
from components.transform import transform
from components.validate import validate
from learnloop.artifacts import Examples, Records
from learnloop.component import CodeReference, Input, Output, component
from learnloop.pipeline import Node, OutputReference, pipeline

NAME = "school"


@component
def enrolled(records: Input[Records], examples: Output[Examples]) -> None:
    """Tell of each enrolment what the small model looks at, and whether it ended well.

    The test follows in time, and whoever comes most often is first in each split.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    info = records.table("studentInfo")
    often = info.group_by("id_student").aggregate([("code_presentation", "count_distinct")])
    order = [("code_presentation_count_distinct", "descending"), ("id_student", "ascending")]
    info = info.join(often, "id_student").sort_by([*order, ("code_presentation", "ascending")])
    ended_well = pc.is_in(info["final_result"], pa.array(["Pass", "Distinction"]))
    rows = pa.table(
        {
            "learner": info["id_student"],
            "credits": info["studied_credits"].cast(pa.float32()),
            "module": info["code_module"],
            "passed": ended_well.cast(pa.int64()),
        }
    )
    splits = {"validation": ["2013B"], "train": ["2013J", "2014B"], "test": ["2014J"]}
    for name, presentations in splits.items():
        is_in = pc.is_in(info["code_presentation"], pa.array(presentations))
        examples.write(name, rows.filter(is_in))


def preprocess(raw: dict[str, Any]) -> dict[str, Any]:
    """Scale the credits, number the module."""
    import tensorflow_transform as tft

    return {
        "credits": tft.scale_to_z_score(raw["credits"]),
        "module": tft.compute_and_apply_vocabulary(raw["module"], num_oov_buckets=1),
        "passed": raw["passed"],
    }


def build_model(features: Any) -> Any:
    """Build a very small network."""
    import keras

    inputs = {name: column.input() for name, column in features.items()}
    embedding = keras.layers.Embedding(features["module"].categories, 2)(inputs["module"])
    together = keras.layers.Concatenate()([inputs["credits"], keras.layers.Flatten()(embedding)])
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(together))


def _learned(source: str) -> tuple[OutputReference, Node]:
    raw = ingest(source=source, layout="oulad")
    examples = enrolled(raw.records).examples
    described = statistics(examples)
    checked = validate(described.statistics, examples, skew_threshold=None)
    features = transform(
        examples, checked.schema, preprocessing=CodeReference(f"{__name__}:preprocess")
    )
    trained = train(
        features.transformed,
        features.transform_graph,
        checked.schema,
        model_builder=CodeReference(f"{__name__}:build_model"),
        label="passed",
        epochs=2,
    )
    return examples, trained


@pipeline
def school_model(source: str) -> None:
    """Learn, and no more."""
    _learned(source)


@pipeline
def school(source: str) -> None:
    """Learn, judge, register and publish."""
    examples, trained = _learned(source)
    champion = load_champion(name=NAME)
    judged = evaluate(
        trained.model, examples, champion.champion, label="passed", min_auc=0.0, max_ece=1.0
    )
    registered = register(trained.model, judged.blessing, judged.evaluation, examples, name=NAME)
    push(trained.model, registered.registered, examples)
