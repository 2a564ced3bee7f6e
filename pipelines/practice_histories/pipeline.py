"""The pipeline: learner events in, what each learner has practised in the feature store."""

from __future__ import annotations

from components.push_features import push_features
from learnloop.pipeline import pipeline
from pipelines.knowledge_tracing.histories import histories


@pipeline
def practice_histories(source: str, longest: int = 199) -> None:
    """Keep the feature view ``practice_history``: knowledge_tracing can be asked by learner.

    Args:
        source: A folder or ``s3://bucket/prefix`` with collected learner events.
        longest: The most attempts of a learner that are kept, the last ones.
    """
    known = histories(source=source, longest=longest)
    push_features(known.features)
