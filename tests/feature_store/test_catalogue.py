"""The catalogue tells what each view and service is, and whether it is in force."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feature_store.catalogue import describe_definition, list_definitions
from feature_store.gathering import gather
from feature_store.store import FeatureStore
from learnloop.errors import UsageError
from learnloop.settings import Settings
from tests.feature_store.online.school import open_school
from tests.feature_store.online.school_views import activity, attempts, pace, service


def test_all_there_is_and_whether_it_is_in_force(settings: Settings) -> None:
    store = FeatureStore(settings, gather([activity, attempts, pace, service]))
    states = [(one["name"], one["kind"], one["version"], one["state"]) for one in _listed(store)]
    assert states == [
        ("activity", "feature view", 0, "not applied"),
        ("attempts", "feature view", 0, "not applied"),
        ("pace", "on-demand feature view", 0, "not applied"),
        ("tutor", "feature service", 0, "not applied"),
    ]
    open_school(settings)
    changed = FeatureStore(settings, gather([replace(activity, owner="analytics")]))
    assert [one["state"] for one in _listed(store)] == ["applied"] * 4
    (one,) = _listed(changed)
    assert (one["version"], one["state"], one["owner"]) == (1, "changed since", "analytics")


def test_a_view_with_rows(settings: Settings) -> None:
    found = describe_definition(open_school(settings), "attempts")
    assert found.pop("applied").endswith("+00:00")
    assert found.pop("features")[0] == {
        "name": "count",
        "dtype": "int64",
        "sensitivity": "none",
        "view": "attempts",
        "description": "",
    }
    assert found == {
        "name": "attempts",
        "kind": "feature view",
        "description": "",
        "version": 1,
        "state": "applied",
        "entities": ["learner", "skill"],
        "join keys": ["learner (int64)", "skill (string)"],
        "source": "attempts_kept: data/attempts",
        "happened": "happened_at",
        "recorded": "as it happens",
        "pushed by": "attempt_stream",
        "ttl": "for ever",
        "online": "yes",
        "purposes": [],
        "owner": "",
        "tags": {},
    }


def test_a_view_computed_on_demand_and_a_service(settings: Settings) -> None:
    store = open_school(settings)
    computed = describe_definition(store, "pace")
    assert computed["computed from"] == ["clicks", "days_left"]
    assert computed["function"] == "tests.feature_store.online.school_views:pace"
    chosen = describe_definition(store, "tutor")["features"]
    assert [(feature["view"], feature["name"]) for feature in chosen] == [
        ("attempts", "count"),
        ("attempts", "correct"),
        ("activity", "score"),
        ("activity", "clicks"),
    ]


def test_a_name_that_is_not_there(settings: Settings) -> None:
    with pytest.raises(UsageError) as refused:
        describe_definition(open_school(settings), "tutors")
    assert str(refused.value) == (
        "There is no feature view or service 'tutors'.\n"
        "  where:    feature views and services\n"
        "  expected: did you mean 'tutor'?\n"
        "  received: 'tutors'\n"
        "  next:     learnloop features list"
    )


def _listed(store: FeatureStore) -> list[dict[str, object]]:
    return list_definitions(store)
