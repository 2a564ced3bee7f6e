"""The usual way from examples to a published model, for pipelines that need nothing else.

A pipeline is plain Python, so a function that calls components is all a recipe is. A pipeline that
outgrows it calls the components itself; the nodes and their cache keys stay the same.
"""

from __future__ import annotations

from components.champion import load_champion
from components.evaluate import evaluate
from components.infra_validate import infra_validate
from components.push import push
from components.register import register
from components.statistics import statistics
from components.train import train
from components.transform import transform
from components.validate import validate
from learnloop.component import CodeReference, File
from learnloop.pipeline import Node, OutputReference


def learn_and_publish(
    examples: OutputReference,
    *,
    name: str,
    label: str,
    preprocessing: str,
    model_builder: str,
    schema_file: File | None = None,
    epochs: int = 40,
    min_auc: float = 0.70,
) -> Node:
    """Validate examples, learn from them, judge and try the model, register and publish it.

    Args:
        examples: Raw rows by split: ``train``, ``validation``, ``test``.
        name: The name to register and publish under.
        label: The raw column with the truth, 0 or 1; the transform keeps it under this name.
        preprocessing: ``module:function``, a TensorFlow Transform ``preprocessing_fn``.
        model_builder: ``module:function``, which makes a Keras model of the transformed features.
        schema_file: The curated schema; drafted from the training split when None.
        epochs: The most passes over the training data.
        min_auc: The least AUC on the test split.

    Returns:
        The ``push`` node.
    """
    described = statistics(examples)
    # Splits drawn by chance differ by chance; a curated schema's own comparators still hold.
    checked = validate(described.statistics, examples, schema_file=schema_file, skew_threshold=None)
    features = transform(examples, checked.schema, preprocessing=CodeReference(preprocessing))
    trained = train(
        features.transformed,
        features.transform_graph,
        checked.schema,
        model_builder=CodeReference(model_builder),
        label=label,
        epochs=epochs,
    )
    champion = load_champion(name=name)
    judged = evaluate(trained.model, examples, champion.champion, label=label, min_auc=min_auc)
    tried = infra_validate(trained.model, judged.blessing, examples, name=name)
    registered = register(
        trained.model, tried.infra_blessing, judged.evaluation, examples, name=name
    )
    return push(trained.model, registered.registered, examples)
