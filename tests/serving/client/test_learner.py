"""A learner's features as rows of a model, from a real online store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from feature_store.definitions import FeatureService
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.settings import Settings
from serving.client.learner import complete_rows
from tests.feature_store.online.school import NOW, ago, attempt, open_school, write_activity
from tests.feature_store.online.school_views import activity, attempts, pace, skill

MODEL = FeatureService("outcome", (activity[["score", "clicks"]], pace))
BY_SKILL = FeatureService("tutor", (attempts,))


@pytest.fixture
def store(settings: Settings) -> Iterator[FeatureStore]:
    """Learner 1 is active, 2 was long ago, 3 has no score; 1 has made attempts."""
    store = open_school(settings, activity, attempts, pace, MODEL, BY_SKILL)
    write_activity(
        "a",
        [
            {"learner": 1, "happened_at": ago(days=1), "clicks": 10, "score": 0.5},
            {"learner": 2, "happened_at": ago(days=31), "clicks": 20, "score": 1.5},
            {"learner": 3, "happened_at": ago(days=2), "clicks": 30},
        ],
    )
    store.materialize_incremental(NOW)
    store.push("attempt_stream", [attempt(1, 1, "sums", 11, ago(hours=1))])
    yield store
    store.online_stores[0].close()


def test_rows_are_completed(store: FeatureStore) -> None:
    """What only the service is told, the model is not; what only the model has, it is given."""
    rows = [{"days_left": 4}, {"days_left": 5, "region": "north"}]
    assert complete_rows(store, "outcome", "1", rows) == [
        {"score": 0.5, "clicks": 10, "pace": 2.5},
        {"score": 0.5, "clicks": 10, "pace": 2.0, "region": "north"},
    ]
    assert complete_rows(store, "tutor", "1", [{"skill": "sums"}]) == [
        {"count": 11, "correct": 5.5}
    ]


@pytest.mark.parametrize(
    ("learner", "where", "received"),
    [
        ("2", "feature view 'activity'", "OUTSIDE_MAX_AGE"),
        ("3", "feature service 'outcome'", "no value of score"),
        ("4", "feature view 'activity'", "NOT_FOUND"),
    ],
)
def test_nothing_is_made_up(store: FeatureStore, learner: str, where: str, received: str) -> None:
    with pytest.raises(UsageError) as caught:
        complete_rows(store, "outcome", learner, [{"days_left": 4}])
    assert str(caught.value) == (
        "The feature store cannot tell all that the model needs to know of this learner.\n"
        f"  where:    {where}\n"
        "  expected: a value of every feature, that still holds\n"
        f"  received: {received}\n"
        "  next:     learnloop features materialize-incremental"
    )


def test_an_id_of_another_type_is_not_quoted(store: FeatureStore) -> None:
    with pytest.raises(UsageError) as caught:
        complete_rows(store, "outcome", "Ada", [{"days_left": 4}])
    assert str(caught.value) == (
        "A learner's id is a whole number here.\n"
        "  where:    the join key 'learner'\n"
        "  expected: a whole number\n"
        "  received: text"
    )


def test_features_that_are_not_about_learners(settings: Settings) -> None:
    by_skill = replace(attempts, name="by_skill", entities=(skill,))
    store = open_school(settings, by_skill, FeatureService("demand", (by_skill,)))
    with pytest.raises(UsageError) as caught:
        complete_rows(store, "demand", "1", [{}])
    assert str(caught.value) == (
        "The features of demand are not looked up by learner.\n"
        "  where:    feature service 'demand'\n"
        "  expected: the join key 'learner'\n"
        "  received: skill"
    )
