"""A DAG file as an author writes it."""

from datetime import UTC, datetime

from small.looking import looking

from learnloop.airflow.dag import airflow_dag

dag = airflow_dag(
    looking,
    schedule="@daily",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    interval=("since", "until"),
    parameters={"names": ["Ada"]},
    tags=["test"],
)
