"""The pipeline: OULAD tables in, a published model of learners at risk out."""

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
from pipelines.learner_outcome.enrolments import enrolments
from pipelines.learner_outcome.features import LABEL, LEARNER, PROTECTED, SLICES

NAME = "learner_outcome"
FOLDER = "pipelines/learner_outcome"
SERVICE = "pipelines.learner_outcome.feature_views:learner_outcome"

SPLITS_APART = 0.3
"""The share of a column's values that may lie elsewhere in the test's term than in those before:
OULAD's terms are up to 0.24 apart where no assessment plan changed."""
DRIFTED = 0.2
"""The share of a column's values that may have moved since earlier data before that is reported:
two simulations that differ by chance are up to 0.1 apart, one of weaker learners 0.6 and more."""


@pipeline
def learner_outcome(
    source: str,
    day: int = 60,
    marking_days: int = 0,
    train_presentations: tuple[str, ...] = ("2013B", "2013J", "2014B"),
    test_presentations: tuple[str, ...] = ("2014J",),
    since: str = "",
    until: str = "",
    epochs: int = 40,
    seed: int = 1,
    min_auc: float = 0.70,
) -> None:
    """Predict on a day of the course which enrolments will end in Fail or Withdrawn.

    Args:
        source: A folder or ``s3://bucket/prefix`` with the OULAD tables.
        day: The day of the course on which the question is asked.
        marking_days: Days from a submission until its mark is known.
        train_presentations: The presentations to learn from.
        test_presentations: The presentations to judge by.
        since: With ``until``, a span of time in place of the two lists: judge by the presentations
            whose outcomes became known in it, learn from those known before. ISO 8601.
        until: The span's end, which no longer belongs to it.
        epochs: The most passes over the training data.
        seed: Of the first weights and the order of the rows.
        min_auc: The least AUC on the test presentations.
    """
    raw = ingest(source=source, layout="oulad")
    known = enrolments(
        raw.records,
        day=day,
        marking_days=marking_days,
        train_presentations=train_presentations,
        test_presentations=test_presentations,
        since=since,
        until=until,
    )
    joined = join_features(known.entities, known.features, service=CodeReference(SERVICE))
    described = statistics(joined.examples)
    earlier = load_reference(described.statistics, name=NAME)
    checked = validate(
        described.statistics,
        joined.examples,
        earlier.reference,
        schema_file=File(f"{FOLDER}/schema.pbtxt"),
        expectations=File(f"{FOLDER}/expectations.json"),
        drift_threshold=DRIFTED,
        skew_threshold=SPLITS_APART,
    )
    features = transform(
        joined.examples,
        checked.schema,
        preprocessing=CodeReference("pipelines.learner_outcome.preprocessing:preprocess"),
    )
    trained = train(
        features.transformed,
        features.transform_graph,
        checked.schema,
        model_builder=CodeReference("pipelines.learner_outcome.model:build_model"),
        label=LABEL,
        epochs=epochs,
        seed=seed,
    )
    champion = load_champion(name=NAME)
    judged = evaluate(
        trained.model,
        joined.examples,
        champion.champion,
        label=LABEL,
        slices=SLICES,
        protected=PROTECTED,
        learner=LEARNER,
        min_auc=min_auc,
    )
    tried = infra_validate(trained.model, judged.blessing, joined.examples, name=NAME)
    registered = register(
        trained.model, tried.infra_blessing, judged.evaluation, joined.examples, name=NAME
    )
    push(trained.model, registered.registered, joined.examples)
