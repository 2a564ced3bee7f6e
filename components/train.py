"""Train a Keras model on transformed examples, and export it to take raw ones.

The author brings a model builder (:mod:`components.engines.training.features` is its contract); how
it is trained, checkpointed and exported is :mod:`components.engines.training`.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from learnloop.artifacts import Examples, Model, Schema, TransformGraph
from learnloop.component import CodeReference, Context, Input, Json, Output, Resources, component
from learnloop.fingerprint import code_digest, version_of

if TYPE_CHECKING:
    from components.engines.training.fit import EpochReport


@component(resources=Resources(cpus=2.0, memory_gib=4.0))
def train(
    transformed: Input[Examples],
    transform_graph: Input[TransformGraph],
    schema: Input[Schema],
    base: Input[Model] | None,
    model: Output[Model],
    *,
    model_builder: CodeReference,
    label: str,
    weight: str = "",
    hyperparameters: Mapping[str, Json] = {},
    epochs: int = 40,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    schedule: Literal["constant", "cosine"] = "constant",
    clip_norm: float | None = None,
    patience: int = 5,
    monitor: Literal["loss", "auc"] = "loss",
    seed: int = 1,
    context: Context,
) -> None:
    """Train a model, keep its best weights, export it with the transform graph inside.

    A killed training goes on from its last checkpoint. The same data, seed, code and versions give
    the same weights, bit for bit.

    Args:
        transformed: Transformed examples: `train`, and `validation` to stop early by.
        transform_graph: The graph that transformed them.
        schema: The curated schema of the raw features.
        base: A model to take the first weights from.
        model: `saved_model/` over raw features, `model.keras` over transformed ones, and
            `training.json` with parameters, curves and the served signature.
        model_builder: `build_model(features, **hyperparameters) -> keras.Model`, over inputs named
            after transformed columns, with a probability as output.
        label: The transformed column to predict, 0 or 1; below 0 where it is not known. A list
            column asks for an answer at every step.
        weight: A transformed column of weights by row (or step); empty for none.
        hyperparameters: What the builder is given besides.
        epochs: The most passes over the data.
        batch_size: Rows in a batch.
        learning_rate: Of Adam; a model that its builder compiled keeps its own optimizer.
        schedule: How the rate goes: `constant`, or `cosine` down to zero.
        clip_norm: The longest gradient, None for any.
        patience: Stop after this many epochs without a better validation score.
        monitor: The validation score that decides, `loss` or `auc`.
        seed: Of the first weights, the order of batches and dropout.
        context: Progress and scratch space.

    Raises:
        UsageError: If the model does not fit the columns, or the base does not fit the model.
        LearnLoopError: If the loss stops being a number.
    """
    from components.engines.training.digest import digest_model
    from components.engines.training.export import export_saved_model
    from components.engines.training.features import describe_column, describe_features
    from components.engines.training.fit import Recipe, build, fit
    from components.engines.training.loop import check_inputs
    from components.engines.training.signature import describe_signature, never_negative
    from components.engines.training.streaming import open_examples
    from components.engines.training.warm_start import warm_start

    recipe = Recipe(epochs, batch_size, learning_rate, schedule, clip_norm, patience, monitor, seed)
    columns = transformed.schema("train")
    features = describe_features(columns, {label, weight}, _categories(transform_graph))
    builder = model_builder.load()
    network = build(lambda: builder(features, **hyperparameters), seed)
    if base is not None:
        warm_start(network, base.path / "model.keras")
    check_inputs(network, features)
    examples = {
        split: open_examples(
            transformed.file(split),
            label=label,
            weight=weight or None,
            columns=tuple(tensor.name for tensor in network.inputs),
        )
        for split in ("train", "validation")
        if split in transformed.names
    }
    outcome = fit(
        network,
        examples["train"],
        examples.get("validation"),
        recipe,
        scratch=context.scratch,
        report=_reporter(context),
    )
    context.report("export")
    is_per_step = describe_column(columns.field(label)).shape != ()
    inputs = export_saved_model(
        network,
        transform_graph.path,
        model.saved_model,
        is_per_step=is_per_step,
        never_negative=never_negative(schema.load()),
    )
    network.save(model.path / "model.keras")
    signature = describe_signature(
        inputs, is_per_step=is_per_step, longest=examples["train"].longest
    )
    document = {
        "parameters": {
            "model_builder": str(model_builder),
            "hyperparameters": dict(hyperparameters),
            "label": label,
            "weight": weight,
            "warm_start": base is not None,
            **asdict(recipe),
        },
        "rows": transformed.counts,
        "transformed_inputs": [tensor.name for tensor in network.inputs],
        "best_epoch": outcome.best_epoch,
        # Where validation has one class only there is no AUC: NaN, which JSON cannot hold.
        "curves": {n: c for n, c in outcome.curves.items() if all(map(math.isfinite, c))},
        "seconds": outcome.seconds,
        "versions": _versions(),
        "signature": signature,
    }
    (model.path / "training.json").write_text(
        json.dumps(document, indent=1, allow_nan=False) + "\n"
    )
    model.set_content_digest(
        digest_model(
            network,
            signature=signature,
            transform_graph=transform_graph.content_digest(),
            builder=code_digest(model_builder),
        )
    )


def _reporter(context: Context) -> Callable[[EpochReport], None]:
    def report(epoch: EpochReport) -> None:
        rate = epoch.rows_per_second
        numbers = {"done": epoch.epoch, "total": epoch.epochs, "rows_per_second": rate}
        context.report("epoch", **numbers, **epoch.scores)

    return report


def _categories(transform_graph: TransformGraph) -> dict[str, int]:
    """How many categories each transformed index column has."""
    domains = transform_graph.load().transformed_domains()
    return {
        name: int(domain.max) + 1
        for name, domain in domains.items()
        if getattr(domain, "is_categorical", False)
    }


def _versions() -> dict[str, str]:
    names = ("keras", "numpy", "tensorflow", "tensorflow-transform")
    return {"python": platform.python_version()} | {name: version_of(name) for name in names}
