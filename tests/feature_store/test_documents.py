"""Definitions as documents: each detail is in one, and a difference is told in words."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from feature_store.definitions import FeatureView
from feature_store.documents import (
    describe_difference,
    entity_document,
    service_document,
    source_document,
    view_document,
)
from feature_store.fields import FeatureType, Field, Sensitivity
from feature_store.sources import EventSource, PushSource
from learnloop.settings import Settings, project_root
from tests.feature_store.online.school_views import (
    activity,
    attempts,
    pace,
    request,
    service,
    skill,
)

T = FeatureType


def test_what_is_written_of_each() -> None:
    assert entity_document(skill) == {
        "join_keys": [
            {
                "name": "skill",
                "dtype": "string",
                "sensitivity": "none",
                "description": "",
                "formerly": [],
            }
        ],
        "description": "",
    }
    assert source_document(activity.source) == {
        "kind": "parquet",
        "path": "data/activity",
        "timestamp_field": "happened_at",
        "created_timestamp_column": "recorded_at",
    }
    assert source_document(EventSource("told", "events", "attempt")) == {
        "kind": "events",
        "path": "events",
        "timestamp_field": "at",
        "created_timestamp_column": "recorded_at",
        "event_kind": "attempt",
    }
    assert isinstance(attempts.source, PushSource)
    assert source_document(attempts.source) == {
        "kind": "push",
        "batch_source": {
            "name": "attempts_kept",
            "path": "data/attempts",
            "timestamp_field": "happened_at",
            "created_timestamp_column": "",
        },
    }
    written = view_document(attempts)
    assert {name: written[name] for name in ("kind", "entities", "source", "ttl_seconds")} == {
        "kind": "stored",
        "entities": ["learner", "skill"],
        "source": "attempt_stream",
        "ttl_seconds": None,
    }
    computed = view_document(pace)
    assert computed["function"] == "tests.feature_store.online.school_views:pace"
    assert computed["sources"][0] == {"view": "activity", "features": ["clicks"]}
    assert computed["sources"][1]["request"] == request.name
    assert service_document(service)["features"] == [
        {"view": "attempts", "features": ["count", "correct"]},
        {"view": "activity", "features": ["score", "clicks"]},
    ]


@pytest.mark.parametrize("definition", [activity, attempts, pace])
def test_a_document_survives_json(definition: Any) -> None:
    written = view_document(definition)
    assert json.loads(json.dumps(written)) == written


CHANGES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"ttl": timedelta(days=60)}, ["ttl: 30 days, 0:00:00 -> 60 days, 0:00:00"]),
    ({"ttl": None}, ["ttl: 30 days, 0:00:00 -> for ever"]),
    ({"owner": "analytics"}, ["owner: none -> analytics"]),
    ({"purposes": ("support",)}, ['purposes: none -> ["support"]']),
    ({"tags": {"team": "a"}}, ['tags: none -> {"team": "a"}']),
    ({"online": False}, ["online: true -> false"]),
    (
        {"schema": (*activity.schema, Field("days", T.INT32))},
        ["schema: + days (int32)"],
    ),
    ({"schema": activity.schema[:-1]}, ["schema: - favourite"]),
    ({"schema": activity.schema[::-1]}, ["schema: in another order"]),
    (
        {"schema": (Field("presses", T.INT64, formerly=("clicks",)), *activity.schema[1:])},
        ["schema: clicks -> presses, renamed"],
    ),
    (
        {"schema": (replace(activity.schema[0], description="A day's."), *activity.schema[1:])},
        ["schema: clicks, description: none -> A day's."],
    ),
    (
        {
            "schema": (
                replace(activity.schema[0], sensitivity=Sensitivity.BEHAVIOURAL),
                replace(activity.schema[1], dtype=T.FLOAT64),
                *activity.schema[2:],
            )
        },
        [
            "schema: clicks, sensitivity: none -> behavioural",
            "schema: score, dtype: float32 -> float64",
        ],
    ),
]


@pytest.mark.parametrize(("change", "lines"), CHANGES)
def test_a_difference_in_words(change: dict[str, Any], lines: list[str]) -> None:
    later: FeatureView = replace(activity, **change)
    assert describe_difference(view_document(activity), view_document(later)) == lines


def test_a_change_in_what_a_function_calls_is_a_change(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper's module is another than the function's; a comment changes nothing."""
    helper, computed = (project_root() / f"{name}.py" for name in ("helped_by", "helped"))
    computed.write_text(
        "from feature_store.definitions import on_demand_feature_view\n"
        "from tests.feature_store.online.school_views import request, T, Field\n"
        "import helped_by\n"
        "@on_demand_feature_view(sources=(request,), schema=(Field('half', T.FLOAT64),))\n"
        "def half(columns):\n"
        "    return {'half': helped_by.halved(columns['days_left'])}\n"
    )
    monkeypatch.syspath_prepend(str(project_root()))

    def written(text: str) -> Any:
        helper.write_text(text)
        return view_document(importlib.import_module("helped").half)

    _forget(monkeypatch, "helped", "helped_by")
    first = written("def halved(days):\n    return days / 2\n")
    assert written("# why\ndef halved(days):\n    return days / 2\n") == first
    changed = written("def halved(days):\n    return days / 3\n")
    assert describe_difference(first, changed) == ["function: its code changed"]


def _forget(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Have modules imported anew, and gone from this process when the test is over."""
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, module)
