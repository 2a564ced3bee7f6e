"""From learner events to histories: what each learner has practised until now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feature_store.definitions import FeatureView
from feature_store.erased import erased_state, load_erased
from feature_store.fields import FeatureType, Field
from feature_store.sources import EventSource
from learnloop.artifacts import Records
from learnloop.component import Context, Output, Resources, component
from learnloop.errors import UsageError
from learnloop.settings import Settings
from pipelines.knowledge_tracing.columns import VIEW
from pipelines.knowledge_tracing.feature_views import learner

BATCH_ROWS = 4_096

_HISTORIES = """
    SELECT learner, max("at") AS as_of,
           list(skill ORDER BY "at", source, sequence) AS skills,
           list(CAST(correct AS BIGINT) ORDER BY "at", source, sequence) AS responses
    FROM (
        FROM read_parquet($files)
        QUALIFY row_number() OVER (
            PARTITION BY learner ORDER BY "at" DESC, source DESC, sequence DESC
        ) <= $longest
    )
    GROUP BY learner
    ORDER BY learner
"""


def attempts_of(source: str) -> FeatureView:
    """Describe the attempts among collected events, so that the feature store can read them.

    Args:
        source: The folder of all events, relative to the project, or ``s3://bucket/prefix/``.
    """
    columns = (Field("skill", FeatureType.STRING), Field("correct", FeatureType.BOOL))
    events = EventSource("attempts", source, "attempt")
    return FeatureView("attempts", (learner,), columns, events, online=False)


def resolve_parts(parameters: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Name the parts that are there now and who was erased, which enter the cache key.

    Args:
        parameters: The step's parameters.
        settings: Names the ledger, which knows who was erased.
    """
    from feature_store.offline.reading import SourceReader

    with SourceReader(attempts_of(parameters["source"])) as reader:
        found = {file.name: file.metadata.num_rows for file in reader.files}
    return {**found, **erased_state(settings)}


@component(resolve=resolve_parts, resources=Resources(cpus=2.0))
def histories(
    features: Output[Records], *, source: str, longest: int = 199, context: Context
) -> None:
    """Put the last attempts of each learner in order of time.

    The events stay where they are: nothing is copied but what is kept.

    Args:
        features: The rows of the feature view ``practice_history``: for each learner the last
            attempts, as of the last one.
        source: The folder of all events, relative to the project, or ``s3://bucket/prefix/``.
        longest: The most attempts of a learner that are kept.
        context: Progress.

    Raises:
        UsageError: There are no attempts.
    """
    import duckdb
    import pyarrow as pa

    from feature_store.offline.reading import SourceReader

    schema = pa.schema(
        {
            "learner": pa.string(),
            "as_of": pa.timestamp("us", "UTC"),
            "skills": pa.list_(pa.string()),
            "responses": pa.list_(pa.int64()),
        }
    )
    with SourceReader(attempts_of(source)) as reader, duckdb.connect() as connection:
        if not reader.files:
            raise UsageError(
                "There are no attempts among the events.",
                where=source,
                expected="attempt/hour=…/*.parquet, as learnloop events collect writes them",
                received="nothing",
            )
        attempts = sum(file.metadata.num_rows for file in reader.files)
        context.report("histories", done=0, total=attempts)
        connection.execute("SET TimeZone = 'UTC'")
        files = [str(file.path) for file in reader.files]
        found = connection.sql(_HISTORIES, params={"files": files, "longest": longest})
        batches = (
            typed
            for batch in found.to_arrow_reader(BATCH_ROWS)
            for typed in pa.Table.from_batches([batch]).cast(schema).to_batches()
        )
        erased = load_erased(context.settings)
        features.write(VIEW, map(erased.without, batches) if erased else batches, schema)
