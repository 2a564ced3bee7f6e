"""Documents in, documents out, in the words of Feast's feature server; what does not fit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from feature_store.asking import PurposeRefused
from feature_store.definitions import FeatureService
from feature_store.fields import Sensitivity
from feature_store.gathering import gather
from feature_store.online.answering import MOST_ROWS, Answering
from feature_store.store import FeatureStore, NotApplied
from learnloop.errors import UsageError
from learnloop.settings import Settings
from tests.feature_store.online.school import ago, open_school, write_activity
from tests.feature_store.online.school_views import activity, pace

fast = FeatureService("fast", (pace, activity[["score", "last_seen"]]))


@pytest.fixture
def answering(settings: Settings) -> Answering:
    """Two learners of whom one was last active longer ago than features hold."""
    write_activity(
        "days",
        [
            {
                "learner": 1,
                "happened_at": ago(days=1),
                "clicks": 30,
                "score": math.nan,
                "last_seen": ago(days=2),
            },
            {"learner": 2, "happened_at": ago(days=40), "clicks": 10},
        ],
    )
    store = open_school(settings, fast)
    store.materialize_incremental(ago())
    return Answering(store)


def test_values_statuses_and_times_row_by_row(answering: Answering) -> None:
    entities = {"learner": [1, 2, 3], "days_left": [3, 1, 1]}
    found = answering.answer({"feature_service": "fast", "entities": entities})
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "metadata": {"feature_names": ["learner", "days_left", "pace", "score", "last_seen"]},
        "results": [
            {
                "values": [1, 2, 3],
                "statuses": ["PRESENT"] * 3,
                "event_timestamps": [None] * 3,
            },
            {
                "values": [3, 1, 1],
                "statuses": ["PRESENT"] * 3,
                "event_timestamps": [None] * 3,
            },
            {
                "values": [10.0, None, None],
                "statuses": ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
                "event_timestamps": [None] * 3,
            },
            {
                "values": ["NaN", None, None],
                "statuses": ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
                "event_timestamps": [ago(days=1).isoformat(), ago(days=40).isoformat(), None],
            },
            {
                "values": [ago(days=2).isoformat(), None, None],
                "statuses": ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
                "event_timestamps": [ago(days=1).isoformat(), ago(days=40).isoformat(), None],
            },
        ],
    }


def test_full_names(answering: Answering) -> None:
    request = {
        "feature_service": "fast",
        "entities": {"learner": [1], "days_left": [1]},
        "full_feature_names": True,
    }
    names = answering.answer(request)["metadata"]["feature_names"]
    assert names[2:] == ["pace__pace", "activity__score", "activity__last_seen"]


def test_no_rows_are_answered_with_none(answering: Answering) -> None:
    entities: dict[str, list[int]] = {"learner": [], "days_left": []}
    found = answering.answer({"feature_service": "fast", "entities": entities})
    assert found["results"][2] == {"values": [], "statuses": [], "event_timestamps": []}


REFUSED: list[tuple[Any, str]] = [
    (
        [1],
        "The request does not fit.\n"
        "  where:    request\n"
        "  expected: a JSON object\n"
        "  received: list",
    ),
    (
        {"feature_servic": "fast"},
        "The request does not fit.\n"
        "  where:    request\n"
        "  expected: did you mean 'feature_service'?\n"
        "  received: 'feature_servic'",
    ),
    (
        {"feature_service": "fast"},
        "The request does not fit.\n"
        "  where:    request\n"
        "  expected: a member 'entities'\n"
        "  received: feature_service",
    ),
    (
        {"feature_service": 7, "entities": {}},
        "The request does not fit.\n"
        "  where:    request\n"
        "  expected: 'feature_service' of type str\n"
        "  received: int",
    ),
    (
        {"feature_service": "fats", "entities": {"learner": [1]}},
        "There is no feature service 'fats'.\n"
        "  where:    feature services\n"
        "  expected: did you mean 'fast'?\n"
        "  received: 'fats'\n"
        "  next:     learnloop features list",
    ),
    (
        {"feature_service": "fast", "entities": {"lerner": [1]}},
        "The request does not fit.\n"
        "  where:    request, entities\n"
        "  expected: did you mean 'learner'?\n"
        "  received: 'lerner'",
    ),
    (
        {"feature_service": "fast", "entities": {"learner": 1}},
        "The request does not fit.\n"
        "  where:    request, entities, learner\n"
        "  expected: a list\n"
        "  received: int",
    ),
    (
        {"feature_service": "fast", "entities": {"learner": [1], "days_left": [1, 2]}},
        "The request does not fit.\n"
        "  where:    request, entities\n"
        "  expected: lists of one length\n"
        "  received: lists of 1, 2",
    ),
    (
        {"feature_service": "fast", "entities": {}},
        "The request does not fit.\n"
        "  where:    request, entities\n"
        "  expected: lists of one length\n"
        "  received: no list",
    ),
    (
        {"feature_service": "fast", "entities": {"learner": [1] * (MOST_ROWS + 1)}},
        "The request does not fit.\n"
        "  where:    request, entities\n"
        "  expected: at most 1000 rows\n"
        "  received: 1001",
    ),
    (
        {"feature_service": "fast", "entities": {"learner": [1]}},
        "The entity rows have no value of 'days_left'.\n"
        "  where:    entity rows, row 0\n"
        "  expected: 'days_left' of int64\n"
        "  received: nothing",
    ),
    (
        {"feature_service": "fast", "entities": {"learner": ["1"], "days_left": [1]}},
        "Column 'learner' of the entity rows is not of its type.\n"
        "  where:    entity rows\n"
        "  expected: int64\n"
        "  received: str",
    ),
    (
        {"feature_service": "fast", "entities": {"learner": [True], "days_left": [1]}},
        "Column 'learner' of the entity rows is not of its type.\n"
        "  where:    entity rows\n"
        "  expected: int64\n"
        "  received: bool",
    ),
]


@pytest.mark.parametrize(("request_", "message"), REFUSED)
def test_requests_that_do_not_fit(answering: Answering, request_: Any, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        answering.answer(request_)
    assert str(refused.value) == message


def test_a_service_without_a_permitted_purpose(settings: Settings) -> None:
    fields = (replace(activity.schema[0], sensitivity=Sensitivity.BEHAVIOURAL),)
    view = replace(activity, schema=fields, purposes=("learner_support",))
    store = open_school(settings, FeatureService("ads", (view,), purpose="advertising"))
    with pytest.raises(PurposeRefused):
        Answering(store).answer({"feature_service": "ads", "entities": {"learner": [1]}})


def test_what_is_applied_later_is_looked_at(answering: Answering, settings: Settings) -> None:
    """A server goes on with definitions only as long as they are those in force."""
    request = {"feature_service": "fast", "entities": {"learner": [1], "days_left": [1]}}
    answering.answer(request)
    FeatureStore(settings, gather([replace(fast, owner="others")])).apply()
    with pytest.raises(NotApplied) as refused:
        answering.answer(request)
    assert refused.value.what == "Feature service 'fast' has changed since it was applied."
