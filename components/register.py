"""Register a model that was blessed: a version with its card, under the alias ``challenger``.

Only the promotion gate moves ``champion``.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.champion import open_registry
from components.engines.model_card import write_model_card
from components.engines.registry import ModelCard
from components.served_rows import made_up_rows
from learnloop.artifacts import Artifact, Blessing, Evaluation, Examples, Model, RegisteredModel
from learnloop.component import Context, Input, Output, Resources, component
from learnloop.errors import GateRefused
from learnloop.settings import Settings
from serving.registry import CHALLENGER, DIGEST_TAG, ERASED_TAG, RUN_TAG

EXAMPLE_ROWS = 3


def check_registration(outputs: Mapping[str, Artifact], settings: Settings) -> str:
    """Tell whether the version is still in the registry, under its alias.

    Args:
        outputs: What the step made.
        settings: Names the registry.
    """
    recorded = outputs["registered"]
    assert isinstance(recorded, RegisteredModel)
    version = recorded.load()
    registry = open_registry(settings)
    if registry.version_digest(version["name"], version["version"]) != version["model_digest"]:
        return f"Version {version['version']} of {version['name']} is not in the registry."
    holder = registry.alias_version(version["name"], CHALLENGER)
    if holder != version["version"]:
        return f"The alias {CHALLENGER} of {version['name']} points at version {holder}."
    return ""


@component(check_target=check_registration, resources=Resources(retries=2))
def register(
    model: Input[Model],
    blessing: Input[Blessing],
    evaluation: Input[Evaluation],
    examples: Input[Examples],
    registered: Output[RegisteredModel],
    *,
    name: str,
    context: Context,
) -> None:
    """Make a blessed model a version in MLflow, and point the alias ``challenger`` at it.

    A version that holds this very model already is used again.

    Args:
        model: The model.
        blessing: The gate's verdict on it.
        evaluation: Its figures; they become metrics and the model card.
        examples: Raw rows; the input example is made up after them, and nobody's.
        registered: The version.
        name: The registered model.
        context: Names the registry, the run and the lineage.

    Raises:
        GateRefused: The model is not blessed.
        LearnLoopError: MLflow did not take it.
    """
    verdict = blessing.load()
    if not verdict["blessed"]:
        raise GateRefused(
            ["A model that is not blessed is not registered.", *verdict["reasons"]],
            next=f"learnloop show {context.run_id}",
        )
    registry = open_registry(context.settings)
    digest = model.content_digest()
    found = registry.find_version(name, digest)
    if found is None:
        card = _card(name, model, evaluation, examples, digest, context)
        found = registry.register(name, model.path, digest, card)
    version, run_id = found
    # Who was erased since is not in this run's rows. If the model is the same, it is without them.
    registry.untag_version(name, version, ERASED_TAG)
    registry.set_alias(name, CHALLENGER, version)
    registered.write(
        {
            "name": name,
            "version": version,
            "alias": CHALLENGER,
            "run_id": run_id,
            "model_digest": digest,
        }
    )
    registered.set_content_digest(digest)


def _card(
    name: str,
    model: Model,
    evaluation: Evaluation,
    examples: Examples,
    digest: str,
    context: Context,
) -> ModelCard:
    training = model.training
    figures = evaluation.load()
    tags = {
        "learnloop.pipeline": context.pipeline,
        RUN_TAG: context.run_id,
        DIGEST_TAG: digest,
        **{f"learnloop.input.{key}": value for key, value in context.lineage.items()},
    }
    metrics = {
        f"{split}_{figure}": float(value)
        for split, values in figures["metrics"].items()
        for figure, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    return ModelCard(
        parameters=training["parameters"],
        metrics=metrics,
        curves=training["curves"],
        tags=tags,
        description=write_model_card(name, training, figures, tags),
        signature=training["signature"]["inputs"],
        example={
            column: (values.astype(str) if values.dtype == object else values).tolist()
            for column, values in made_up_rows(model, examples, EXAMPLE_ROWS).items()
        },
    )
