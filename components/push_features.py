"""Rows of feature views to the feature store: kept for training, and online at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from learnloop.artifacts import Records
from learnloop.component import Context, Input, Resources, component
from learnloop.errors import UsageError
from learnloop.settings import Settings


def resolve_moment(parameters: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Never the same: only the store knows what it has lost, and pushing again changes nothing.

    Args:
        parameters: The step's parameters.
        settings: Where things are.
    """
    return {"moment": datetime.now(UTC).isoformat()}


@component(
    resolve=resolve_moment,
    resources=Resources(retries=2),
    dynamic_imports=("feature_store.discovery",),
)
def push_features(features: Input[Records], *, context: Context) -> None:
    """Push rows to the sources of their feature views, which the project defines and has applied.

    Each row is kept once. The first push of a view materializes it.

    Args:
        features: A table for each view, named as the view, with the columns of its source.
        context: Where the feature store is.

    Raises:
        UsageError: There is no such view, it is not pushed to or not applied, or the rows do not
            fit.
        OnlineStoreUnavailable: The online store does not answer; what it lacks, the next push or
            materialization writes.
    """
    import pyarrow as pa

    from feature_store.online.store import NotMaterialized
    from feature_store.sources import PushSource
    from feature_store.store import FeatureStore

    store = FeatureStore(context.settings)
    for name in features.names:
        source = store.definitions.stored_view(name).source
        if not isinstance(source, PushSource):
            raise UsageError(
                f"Feature view '{name}' is not pushed to.",
                where=f"source '{source.name}'",
                expected="a PushSource",
                received=type(source).__name__,
            )
        total, done = features.counts[name], 0
        for batch in features.batches(name):
            rows = pa.Table.from_batches([batch])
            try:
                store.push(source.name, rows)
            except NotMaterialized:  # they are kept, for materializing to find
                store.materialize(None, datetime.now(UTC), [name])
            done += batch.num_rows
            context.report(f"push {name}", done=done, total=total)
