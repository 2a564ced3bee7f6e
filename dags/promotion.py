"""Whenever a pipeline has published a version: whether it deserves to be the champion."""

from learnloop.airflow.dag import airflow_dag
from learnloop.airflow.operator import asset_of
from pipelines.promotion.pipeline import promotion

for model in ("learner_outcome", "knowledge_tracing"):
    name = f"promotion_{model}"
    globals()[name] = airflow_dag(
        promotion,
        dag_id=name,
        schedule=asset_of(model, "push", "published"),
        parameters={"model": model},
        tags=["promotion", model],
    )
