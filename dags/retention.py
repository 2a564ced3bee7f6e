"""Every night: what has grown older than learnloop.toml lets it goes, but of people who are held.

A run that was missed needs no other: the next one finds what is too old by then.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task

from learnloop.airflow.notify import FailureNotifier


@dag(
    "retention",
    schedule="30 2 * * *",
    start_date=datetime(2024, 9, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    on_failure_callback=FailureNotifier(),
    tags={"learnloop", "privacy"},
    doc_md=__doc__,
)
def retention() -> None:
    """Enforce the periods of retention."""

    @task
    def enforce() -> dict[str, int]:
        from learnloop.settings import load_settings
        from privacy.retention import enforce_retention

        return {one.what: one.removed for one in enforce_retention(load_settings())}

    enforce()


retention_dag = retention()
