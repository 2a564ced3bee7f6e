"""Every quarter of an hour: what came since goes to the online store of features.

Parts of pushed rows are put together first. A run that was missed needs no other: the next one
goes on from what each view has.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task

from learnloop.airflow.notify import FailureNotifier


@dag(
    "features",
    schedule=timedelta(minutes=15),
    start_date=datetime(2024, 9, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    on_failure_callback=FailureNotifier(),
    tags={"learnloop", "features"},
    doc_md=__doc__,
)
def features() -> None:
    """Keep the online store of features up to date."""

    @task
    def compact() -> dict[str, int]:
        from feature_store.push import compact_pushed
        from feature_store.store import FeatureStore

        return compact_pushed(FeatureStore())

    @task
    def materialize() -> dict[str, int]:
        from feature_store.store import FeatureStore

        done = FeatureStore().materialize_incremental(datetime.now(UTC))
        return {f"{one.view}, {one.store}": one.rows for one in done}

    compact() >> materialize()


features_dag = features()
