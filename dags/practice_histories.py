"""Every five minutes: what each learner has practised goes to the feature store.

It takes all events there are, so a run that was missed needs no other.
"""

from datetime import UTC, datetime, timedelta

from learnloop.airflow.dag import airflow_dag
from pipelines.practice_histories.pipeline import practice_histories

dag = airflow_dag(
    practice_histories,
    schedule=timedelta(minutes=5),
    start_date=datetime(2024, 9, 1, tzinfo=UTC),
    parameters={"source": "events"},
    tags=["knowledge-tracing", "features"],
)
