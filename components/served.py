"""The model in service and what belongs to it: its rows, its evaluation, and the challenger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.champion import open_registry
from components.engines.registry import ModelRegistry
from learnloop.artifacts import Artifact, Evaluation, Examples, Model
from learnloop.component import Context, Output, component
from learnloop.errors import UsageError
from learnloop.ledger import ArtifactRecord, open_ledger
from learnloop.ledger.lineage import input_of_run
from learnloop.settings import Settings
from learnloop.store import open_store
from serving.registry import CHALLENGER, CHAMPION, RUN_TAG

EXAMPLES, EVALUATION = "examples", "evaluation"
"""The inputs of steps under which a run reads its raw rows and its model's figures."""


def resolve_served(arguments: Mapping[str, Any], settings: Settings) -> Mapping[str, Any]:
    """Tell which versions the aliases point at now, which enters the cache key.

    Args:
        arguments: The step's parameters.
        settings: Names the registry.
    """
    registry, name = open_registry(settings), arguments["name"]
    versions = {alias: registry.alias_version(name, alias) for alias in (CHAMPION, CHALLENGER)}
    digests = {
        alias: registry.version_digest(name, version) if version else None
        for alias, version in versions.items()
    }
    return {"versions": versions, "digests": digests}


@component(resolve=resolve_served)
def load_served(
    reference: Output[Examples],
    evaluation: Output[Evaluation],
    challenger: Output[Model] | None,
    *,
    name: str,
    context: Context,
) -> None:
    """Fetch what the champion was trained on and judged by, and the challenger if there is one.

    Args:
        reference: The raw rows of the champion's run.
        evaluation: The champion's own evaluation.
        challenger: The model that waits; left empty where it is the champion, or none does.
        name: The registered model.
        context: Names the registry, the ledger and the store.

    Raises:
        UsageError: There is no champion, or its run is no longer on record.
    """
    settings = context.settings
    registry = open_registry(settings)
    champion = registry.alias_version(name, CHAMPION)
    if champion is None:
        raise UsageError(
            f"No version of {name} is the champion.",
            where="the model registry",
            expected="a model in service, which can be watched",
            next=f"learnloop run promotion --set model={name}",
        )
    store = open_store(settings.store_location, str(settings.home_folder))
    run_id = registry.version_tag(name, champion, RUN_TAG)
    for input_name, output in ((EXAMPLES, reference), (EVALUATION, evaluation)):
        found = _find(settings, run_id, input_name, output)
        if found is None:
            raise UsageError(
                f"What version {champion} of {name} was made from is no longer on record.",
                where=f"run {run_id}",
                expected=f"a step that read '{input_name}'",
                next=f"learnloop run {name}, then promote the new version",
            )
        output.adopt(store.fetch(found.uri))
    _load_challenger(registry, name, champion, challenger, context)


def _find(
    settings: Settings, run_id: str | None, name: str, output: Artifact
) -> ArtifactRecord | None:
    if run_id is None:
        return None
    return input_of_run(open_ledger(settings.ledger_url), run_id, name, output.reference())


def _load_challenger(
    registry: ModelRegistry, name: str, champion: str, challenger: Model | None, context: Context
) -> None:
    version = registry.alias_version(name, CHALLENGER)
    if challenger is None or version is None:
        return
    if registry.version_digest(name, version) != registry.version_digest(name, champion):
        challenger.adopt(registry.download(name, version, context.scratch))
