"""The pipeline that is measured: the benchmark's table in, a published model out."""

from __future__ import annotations

from components.champion import load_champion
from components.evaluate import evaluate
from components.ingest import ingest
from components.push import push
from components.register import register
from components.split import split
from components.statistics import statistics
from components.train import train
from components.transform import transform
from components.validate import validate
from learnloop.component import CodeReference, File
from learnloop.pipeline import pipeline


@pipeline
def table(source: str, epochs: int = 5) -> None:
    """Learn the label of the benchmark's table."""
    rows = split(ingest(source=source, layout="csv").records, by="learner")
    described = statistics(rows.examples)
    checked = validate(described.statistics, rows.examples, expectations=File("expectations.json"))
    features = transform(
        rows.examples, checked.schema, preprocessing=CodeReference("pipelines.network:preprocess")
    )
    trained = train(
        features.transformed,
        features.transform_graph,
        checked.schema,
        model_builder=CodeReference("pipelines.network:build_model"),
        label="y",
        epochs=epochs,
        patience=epochs,
    )
    champion = load_champion(name="table")
    judged = evaluate(trained.model, rows.examples, champion.champion, label="y", min_auc=0.6)
    registered = register(
        trained.model, judged.blessing, judged.evaluation, rows.examples, name="table"
    )
    push(trained.model, registered.registered, rows.examples)
