"""Every night: what is known of each enrolment goes to the feature store.

A run takes the days that ended in its data interval, so a backfill makes up for those missed.
"""

from datetime import UTC, datetime

from learnloop.airflow.dag import airflow_dag
from pipelines.enrolment_days.pipeline import enrolment_days

dag = airflow_dag(
    enrolment_days,
    schedule="0 3 * * *",
    start_date=datetime(2013, 10, 1, tzinfo=UTC),
    interval=("since", "until"),
    parameters={"source": "data/oulad", "until": ""},
    tags=["oulad", "features"],
)
