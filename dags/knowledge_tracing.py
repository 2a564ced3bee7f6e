"""Every Monday morning, by the form or by message: train, judge, publish knowledge_tracing.

Its files carry no time, so a run takes what they hold: no data interval is filled in.
"""

from datetime import UTC, datetime

from learnloop.airflow.dag import airflow_dag
from pipelines.knowledge_tracing.pipeline import knowledge_tracing

dag = airflow_dag(
    knowledge_tracing,
    schedule="0 5 * * 1",
    start_date=datetime(2024, 9, 1, tzinfo=UTC),
    parameters={"source": "data/knowledge_tracing"},
    tags=["knowledge-tracing"],
)
