"""Publish a registered model to TensorFlow Serving's base path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from components.served_rows import made_up_rows
from learnloop.artifacts import Artifact, Examples, Model, PublishedModel, RegisteredModel
from learnloop.component import Context, Input, Output, Resources, component
from learnloop.errors import UsageError
from learnloop.settings import Settings
from serving.moves import MLFLOW_VERSION, Mover
from serving.places import open_place
from serving.publish import MANIFEST, Publication
from serving.warmup import write_warmup_requests

WARMUP_ROWS = 32


def check_publication(outputs: Mapping[str, Artifact], settings: Settings) -> str:
    """Tell whether the version is still as it was published, and servers may be told of it.

    Whether callers get it is not asked: a version that was rolled back stays so.

    Args:
        outputs: What the step made.
        settings: Names the base path.
    """
    recorded = outputs["published"]
    assert isinstance(recorded, PublishedModel)
    document = recorded.load()
    name, version = document["name"], int(document["version"])
    place = open_place(settings)
    known = place.read().models.get(name)
    if known is None or version not in known.published:
        return f"{place.location} does not know version {version} of {name}."
    if not place.is_current():
        return f"{place.location} has a server configuration that is out of date."
    return place.why_not_as_published(name, version)


@component(check_target=check_publication, resources=Resources(retries=2))
def push(
    model: Input[Model],
    registered: Input[RegisteredModel],
    examples: Input[Examples],
    published: Output[PublishedModel],
    *,
    canary_weight: float = 0.0,
    context: Context,
) -> None:
    """Publish the model under its registered version's number, with warm-up requests.

    A model's first version is in service at once. A later one replaces it at once too, or is tried
    out first on a share of the callers. One that was withdrawn by a rollback stays out of service.

    Args:
        model: The model.
        registered: Its version in the registry.
        examples: Raw rows; warm-up requests are made up after them, and nobody's.
        published: Name, version, place and manifest of what a server will load.
        canary_weight: The share of callers, 0 to 1, that a later version is tried out on; 0 puts
            it into service at once.
        context: Names the base path, the ledger and the lineage.

    Raises:
        UsageError: The number is taken by another model.
        LearnLoopError: The disk or S3 failed.
    """
    if not 0.0 <= canary_weight <= 1.0:
        raise UsageError(
            "A canary's weight is a share of the callers.",
            where="the parameter canary_weight of push",
            expected="0 to 1",
            received=canary_weight,
        )
    version = registered.load()
    name = version["name"]

    def warm_up(folder: Path) -> None:
        write_warmup_requests(folder, name, made_up_rows(model, examples, WARMUP_ROWS))

    publication = Publication(
        model.saved_model,
        int(version["version"]),
        model.content_digest(),
        {
            "run_id": context.run_id,
            MLFLOW_VERSION: version["version"],
            "mlflow_run_id": version["run_id"],
            **context.lineage,
        },
        warm_up,
    )
    mover = Mover(context.settings)
    result = mover.push(
        name, publication, weight=canary_weight, why=f"run {context.run_id} made it"
    )
    published.write(
        {
            "name": name,
            "version": version["version"],
            "path": result.location,
            "manifest": f"{result.location}/{MANIFEST}",
        }
    )
    published.set_content_digest(model.content_digest())
