"""Every Monday morning: each model in service, looked at over the week that has passed."""

from datetime import UTC, datetime

from learnloop.airflow.dag import airflow_dag
from pipelines.monitoring.pipeline import monitoring

for model in ("learner_outcome", "knowledge_tracing"):
    name = f"monitoring_{model}"
    globals()[name] = airflow_dag(
        monitoring,
        dag_id=name,
        schedule="0 6 * * 1",
        start_date=datetime(2024, 9, 1, tzinfo=UTC),
        interval=("since", "until"),
        parameters={"model": model},
        tags=["monitoring", model],
    )
