"""The statistics of earlier data: what today's are held against to tell whether data has drifted.

Earlier data is what the champion was trained on: it is the model in service that drift harms. Where
there is no champion yet, or its run is no longer on record, it is what the last published run was
trained on. Statistics equal to the run's own are no earlier data: running again finds everything in
the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.champion import open_registry
from learnloop.artifacts import PublishedModel, Statistics
from learnloop.component import Context, Input, Output, component
from learnloop.ledger import ArtifactRecord, open_ledger
from learnloop.ledger.lineage import input_of_last_run, input_of_run
from learnloop.settings import Settings
from learnloop.store import open_store
from serving.registry import CHAMPION, RUN_TAG

STATISTICS = "statistics"
"""The input of a step under which a run reads the statistics of its data."""


def resolve_reference(arguments: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Tell which statistics are the reference now, which enters the cache key.

    Args:
        arguments: The step's parameters, and the content digest of the run's own statistics.
        settings: Names the registry and the ledger.
    """
    found = find_reference(arguments["name"], arguments[STATISTICS], settings)
    return {"reference": found.content_digest if found else None}


def find_reference(name: str, own: str, settings: Settings) -> ArtifactRecord | None:
    """Find the statistics of earlier data.

    Args:
        name: The pipeline and the model it registers.
        own: The content digest of the statistics to compare.
        settings: Names the registry and the ledger.

    Returns:
        The champion's, else those of the last published run with others than these; None where
        there are none, or the champion's are these.
    """
    ledger = open_ledger(settings.ledger_url)
    kind = Statistics.reference()
    registry = open_registry(settings)
    version = registry.alias_version(name, CHAMPION)
    run_id = registry.version_tag(name, version, RUN_TAG) if version else None
    champions = input_of_run(ledger, run_id, STATISTICS, kind) if run_id else None
    if champions is not None:
        return champions if champions.content_digest != own else None
    return input_of_last_run(
        ledger, name, STATISTICS, kind, that_made=PublishedModel.reference(), other_than=own
    )


@component(resolve=resolve_reference)
def load_reference(
    statistics: Input[Statistics],
    reference: Output[Statistics] | None,
    *,
    name: str,
    context: Context,
) -> None:
    """Fetch the statistics of earlier data; leave the output empty where there are none yet.

    Args:
        statistics: The run's own.
        reference: What the champion was trained on, else the last published run.
        name: The pipeline and the model it registers, which have one name.
        context: Names the registry, the ledger and the store.
    """
    found = find_reference(name, statistics.content_digest(), context.settings)
    if found is None or reference is None:
        return
    store = open_store(context.settings.store_location, str(context.settings.home_folder))
    reference.adopt(store.fetch(found.uri))
