"""Training data from the feature store: what was known at the moment of each entity row."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from learnloop.artifacts import Examples, Records
from learnloop.component import CodeReference, Input, Output, component, load_object
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    import pyarrow as pa

    from feature_store.definitions import FeatureView


@component
def join_features(
    entities: Input[Examples],
    features: Input[Records],
    examples: Output[Examples],
    *,
    service: CodeReference,
) -> None:
    """Look up the features of a service as they were known at the moment of each entity row.

    The definitions are those by which a server looks features up; the rows are those of this run,
    not what has been pushed or materialized since, so that the same run gives the same examples.

    Args:
        entities: By split, the join keys and the moment (``event_timestamp``) of each example, the
            columns that on-demand features are given, and what else an example has: label, slices.
        features: A table of rows for each stored view of the service, named as the view, with the
            columns of the view's source.
        examples: The entity rows, every one and in order, with the features and without the moment.
        service: The feature service; its purpose is what the features are read for.

    Raises:
        UsageError: A view has no table, or a table or the entity rows do not fit the service.
        PurposeRefused: A sensitive feature is not to be read for the purpose of the service.
    """
    import pyarrow as pa

    from feature_store.asking import resolve
    from feature_store.definitions import FeatureProjection, FeatureService
    from feature_store.fields import EVENT_TIMESTAMP
    from feature_store.gathering import gather
    from feature_store.offline.history import HistoricalFeatures
    from feature_store.offline.joining import Cut

    wanted = load_object(str(service))
    if not isinstance(wanted, FeatureService):
        raise UsageError(
            "This is no feature service.",
            where="parameter 'service'",
            expected="module:name of a FeatureService",
            received=str(service),
        )
    asked = resolve(wanted, gather([wanted]))
    stored = tuple(
        FeatureProjection(_read_from(features, view), projection.names)
        for view, projection in zip(asked.stored_views, asked.stored, strict=True)
    )
    asked = dataclasses.replace(asked, stored=stored)
    for split in entities.names:
        found = HistoricalFeatures(asked, entities.file(split), Cut.KNOWLEDGE)
        kept = pa.schema([column for column in found.schema if column.name != EVENT_TIMESTAMP])
        batches = (_select(batch, kept) for batch in found.to_reader())
        examples.write(split, batches, kept)
    told = examples.metadata
    examples.describe(
        **{name: fact for name, fact in entities.metadata.items() if name not in told}
    )


def _read_from(features: Records, view: FeatureView) -> FeatureView:
    """The view, with a table in place of its source."""
    from feature_store.sources import ParquetSource

    if view.name not in features.names:
        raise UsageError(
            f"There are no rows of feature view '{view.name}'.",
            where="input 'features'",
            expected=closest(view.name, features.names),
            received=repr(view.name),
        )
    replaced = view.stored_source
    source = ParquetSource(
        replaced.name,
        str(features.file(view.name)),
        replaced.timestamp_field,
        replaced.created_timestamp_column,
    )
    return dataclasses.replace(view, source=source)


def _select(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)
