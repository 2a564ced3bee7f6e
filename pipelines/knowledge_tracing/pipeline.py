"""The pipeline: three-line sequences in, a published knowledge-tracing model out."""

from __future__ import annotations

from components.champion import load_champion
from components.evaluate import evaluate
from components.infra_validate import infra_validate
from components.ingest import ingest
from components.join_features import join_features
from components.push import push
from components.reference import load_reference
from components.register import register
from components.statistics import statistics
from components.train import train
from components.transform import transform
from components.validate import validate
from learnloop.component import CodeReference, File
from learnloop.pipeline import pipeline
from pipelines.knowledge_tracing.columns import LEARNER
from pipelines.knowledge_tracing.features import LABEL
from pipelines.knowledge_tracing.windows import windows

NAME = "knowledge_tracing"
FOLDER = "pipelines/knowledge_tracing"
SERVICE = "pipelines.knowledge_tracing.feature_views:knowledge_tracing"
STEEPEST = 5.0
"""The longest gradient: a long sequence must not undo what the batches before it learned."""


@pipeline
def knowledge_tracing(
    source: str,
    fold: int = 1,
    longest: int = 200,
    carried: int = 100,
    units: int = 128,
    dropout: float = 0.4,
    epochs: int = 10,
    batch_size: int = 24,
    learning_rate: float = 3e-3,
    seed: int = 1,
    min_auc: float = 0.65,
) -> None:
    """Predict whether a learner answers the next item of a skill correctly.

    Args:
        source: A folder or ``s3://bucket/prefix`` with ``*_train.csv`` and ``*_test.csv``.
        fold: Which ``trainK`` and ``validK`` files to learn from, where there are any.
        longest: Steps of a window: how far back a prediction looks at most.
        carried: Steps of context that a later window of a sequence begins with.
        units: Of the LSTM layer.
        dropout: The share of values dropped in training.
        epochs: Passes over the training data; the learning rate falls to zero over them.
        batch_size: Windows in a batch.
        learning_rate: The first learning rate.
        seed: Of the first weights, the order of the windows and dropout.
        min_auc: The least AUC over all predictions of the test sequences.
    """
    raw = ingest(source=source, layout="knowledge_tracing")
    cut = windows(raw.records, fold=fold, longest=longest, carried=carried)
    joined = join_features(cut.entities, cut.features, service=CodeReference(SERVICE))
    described = statistics(joined.examples)
    earlier = load_reference(described.statistics, name=NAME)
    checked = validate(
        described.statistics,
        joined.examples,
        earlier.reference,
        schema_file=File(f"{FOLDER}/schema.pbtxt"),
        expectations=File(f"{FOLDER}/expectations.json"),
    )
    features = transform(
        joined.examples,
        checked.schema,
        preprocessing=CodeReference("pipelines.knowledge_tracing.features:preprocessing_fn"),
    )
    trained = train(
        features.transformed,
        features.transform_graph,
        checked.schema,
        model_builder=CodeReference("pipelines.knowledge_tracing.model:build_model"),
        label=LABEL,
        hyperparameters={"units": units, "dropout": dropout},
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule="cosine",
        clip_norm=STEEPEST,
        patience=epochs,
        monitor="auc",
        seed=seed,
    )
    champion = load_champion(name=NAME)
    judged = evaluate(
        trained.model,
        joined.examples,
        champion.champion,
        label=LABEL,
        without="repeated",
        learner=LEARNER,
        min_auc=min_auc,
    )
    tried = infra_validate(trained.model, judged.blessing, joined.examples, name=NAME)
    registered = register(
        trained.model, tried.infra_blessing, judged.evaluation, joined.examples, name=NAME
    )
    push(trained.model, registered.registered, joined.examples)
