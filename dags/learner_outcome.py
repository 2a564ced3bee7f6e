"""When a term's outcomes are known, by the form or by message: train, judge, publish.

A scheduled or backfilled run is judged by the presentations that ended in its data interval (July
to September, October to June) and learns from those before; other runs take those named.
"""

from datetime import UTC, datetime

from learnloop.airflow.dag import airflow_dag
from pipelines.learner_outcome.pipeline import learner_outcome

dag = airflow_dag(
    learner_outcome,
    schedule="0 4 1 7,10 *",
    start_date=datetime(2013, 10, 1, tzinfo=UTC),
    interval=("since", "until"),
    parameters={"source": "data/oulad"},
    tags=["oulad"],
)
