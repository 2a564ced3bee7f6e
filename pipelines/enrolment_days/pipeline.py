"""The pipeline: OULAD tables in, what is known of each enrolment in the feature store."""

from __future__ import annotations

from components.ingest import ingest
from components.push_features import push_features
from learnloop.pipeline import pipeline
from pipelines.learner_outcome.enrolments import enrolments_of_days


@pipeline
def enrolment_days(source: str, until: str, since: str = "", marking_days: int = 0) -> None:
    """Keep the feature view ``enrolment_day``, by which learner_outcome is asked by learner.

    Args:
        source: A folder or ``s3://bucket/prefix`` with the OULAD tables.
        until: The last moment at which a day may end, in ISO 8601.
        since: The moment after which it must end; the last day alone when empty.
        marking_days: Days from a submission until its mark is known.
    """
    raw = ingest(source=source, layout="oulad")
    known = enrolments_of_days(raw.records, until=until, since=since, marking_days=marking_days)
    push_features(known.features)
