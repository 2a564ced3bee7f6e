"""Requests are made definite, or refused, before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from feature_store.asking import PurposeRefused, resolve
from feature_store.definitions import FeatureService, FeatureView
from feature_store.fields import Entity, FeatureType, Field, Sensitivity
from feature_store.gathering import gather
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.settings import Settings
from tests.feature_store.online.school import open_school
from tests.feature_store.online.school_views import activity, attempts, pace, service

T = FeatureType
teacher = Entity("teacher", (Field("learner", T.STRING),))
lessons = FeatureView(
    "lessons",
    (teacher,),
    (Field("clicks", T.INT64),),
    replace(activity.source, name="lesson_files"),
)
marks = FeatureView(
    "marks",
    activity.entities,
    (
        Field("mark", T.FLOAT32, Sensitivity.BEHAVIOURAL),
        Field("is_minor", T.BOOL, Sensitivity.UNDER_AGE),
        Field("term", T.STRING),
    ),
    replace(activity.source, name="mark_files"),
    purposes=("learner_support", "research"),
)
DEFINITIONS = gather([activity, attempts, pace, service, lessons, marks])


def test_words_and_values_mean_the_same() -> None:
    words = resolve(["activity:clicks", "attempts", "pace"], DEFINITIONS)
    values = resolve([activity[["clicks"]], attempts, pace], DEFINITIONS)
    assert words == values
    assert [column.name for column in words.columns] == ["clicks", "count", "correct", "pace"]
    assert [field.name for field in words.join_keys] == ["learner", "skill"]
    assert [field.name for field in words.request_fields] == ["days_left"]


def test_what_an_on_demand_view_is_given_is_read_and_not_answered() -> None:
    asked = resolve(["activity:score", "pace"], DEFINITIONS)
    assert [column.name for column in asked.columns] == ["score", "pace"]
    (read,) = asked.stored
    assert (read.view, read.names) == (activity, ("score", "clicks"))


def test_a_service_by_name_or_value() -> None:
    assert resolve("tutor", DEFINITIONS) == resolve(service, DEFINITIONS)
    assert resolve("tutor", DEFINITIONS).service == "tutor"
    full = resolve("tutor", DEFINITIONS, full_feature_names=True)
    assert [column.name for column in full.columns] == [
        "attempts__count",
        "attempts__correct",
        "activity__score",
        "activity__clicks",
    ]


def test_a_purpose_that_is_permitted_or_not_needed() -> None:
    assert resolve(["marks"], DEFINITIONS, purpose="research").purpose == "research"
    assert resolve(["marks:term"], DEFINITIONS).purpose == ""


REFUSED: list[tuple[Callable[[], object], type[UsageError], str]] = [
    (
        lambda: resolve(["marks"], DEFINITIONS, purpose="advertising"),
        PurposeRefused,
        "Features of 'marks' say something about a person and are not to be read for"
        " 'advertising'.\n"
        "  where:    mark (behavioural), is_minor (under_age)\n"
        "  expected: one of the purposes learner_support, research\n"
        "  received: advertising\n"
        "  next:     declare the purpose of the service, or have the view's owner permit it",
    ),
    (
        lambda: resolve([replace(marks, purposes=())], DEFINITIONS, purpose="research"),
        PurposeRefused,
        "Features of 'marks' say something about a person and are not to be read for"
        " 'research'.\n"
        "  where:    mark (behavioural), is_minor (under_age)\n"
        "  expected: a purpose, but the view permits none\n"
        "  received: research\n"
        "  next:     declare the purpose of the service, or have the view's owner permit it",
    ),
    (
        lambda: resolve("tutor", DEFINITIONS, purpose="research"),
        UsageError,
        "A service is read for its own purpose.\n"
        "  where:    feature service 'tutor'\n"
        "  expected: no purpose\n"
        "  received: research",
    ),
    (
        lambda: resolve([], DEFINITIONS),
        UsageError,
        "No feature is asked for.\n"
        "  where:    features\n"
        "  expected: a feature service, or at least one feature\n"
        "  received: none",
    ),
    (
        lambda: resolve(["activity:clicks", "lessons:clicks"], DEFINITIONS),
        UsageError,
        "Two columns of the answer have one name, 'clicks'.\n"
        "  where:    'activity:clicks' and 'lessons:clicks'\n"
        "  expected: names that differ\n"
        "  received: 'clicks'\n"
        "  next:     ask with full_feature_names=True, or for one of them",
    ),
    (
        lambda: resolve([replace(marks, schema=(Field("days_left", T.INT64),)), pace], DEFINITIONS),
        UsageError,
        "A feature and a column of the entity rows have one name, 'days_left'.\n"
        "  where:    'marks:days_left'\n"
        "  expected: names that differ\n"
        "  received: 'days_left'\n"
        "  next:     ask with full_feature_names=True",
    ),
    (
        lambda: resolve(
            ["activity:clicks", "lessons:clicks"], DEFINITIONS, full_feature_names=True
        ),
        UsageError,
        "'learner' has two types.\n"
        "  where:    feature view 'activity' and feature view 'lessons'\n"
        "  expected: int64\n"
        "  received: string",
    ),
]


@pytest.mark.parametrize(("ask", "kind", "message"), REFUSED)
def test_what_cannot_be_asked_for(
    ask: Callable[[], object], kind: type[UsageError], message: str
) -> None:
    with pytest.raises(kind) as refused:
        ask()
    assert str(refused.value) == message


def test_only_what_is_applied_as_it_is_defined_is_read(settings: Settings) -> None:
    definitions: tuple[Any, ...] = (activity, attempts, service)
    file = settings.home_folder / "features" / "registry.json"
    store = FeatureStore(settings, gather(definitions))
    with pytest.raises(UsageError) as missing:
        store.ask("tutor")
    assert str(missing.value) == (
        "Feature view 'attempts' is not applied.\n"
        f"  where:    {file}\n"
        "  expected: the definition in the code\n"
        "  received: none\n"
        "  next:     learnloop features plan, then learnloop features apply"
    )
    open_school(settings, *definitions)
    assert store.ask("tutor").service == "tutor"
    later = FeatureStore(settings, gather([replace(activity, owner="others")]))
    with pytest.raises(UsageError) as changed:
        later.ask(["activity"])
    assert str(changed.value) == (
        "Feature view 'activity' has changed since it was applied.\n"
        f"  where:    {file}\n"
        "  expected: the definition in the code\n"
        "  received: version 1\n"
        "  next:     learnloop features plan, then learnloop features apply"
    )
    narrower = FeatureService("tutor", (attempts,))
    with pytest.raises(UsageError) as service_changed:
        store.ask(narrower)
    assert str(service_changed.value).startswith(
        "Feature service 'tutor' has changed since it was applied.\n"
    )


def test_a_view_that_is_not_for_the_online_store(settings: Settings) -> None:
    store = open_school(settings, replace(activity, online=False))
    with pytest.raises(UsageError) as refused:
        store.online_views(["activity"])
    assert str(refused.value) == (
        "'activity' is not for the online store.\n"
        "  where:    feature view 'activity'\n"
        "  expected: online=True\n"
        "  received: online=False"
    )
