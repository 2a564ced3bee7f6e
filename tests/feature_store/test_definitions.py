"""Definitions: what they hold, and every one that is refused where it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any

import pytest

from feature_store.definitions import (
    FeatureProjection,
    FeatureService,
    FeatureView,
    RequestSource,
    on_demand_feature_view,
)
from feature_store.fields import Entity, FeatureType, Field
from feature_store.sources import EventSource, ParquetSource, PushSource
from learnloop.errors import UsageError
from tests.feature_store.online.school_views import activity, attempts, learner, pace, service

T = FeatureType
CLICKS = Field("clicks", T.INT64)
FILES = ParquetSource("files", "data", "happened_at", "recorded_at")
REQUEST = RequestSource("request", (Field("days_left", T.INT64),))


def view(**changed: Any) -> FeatureView:
    return FeatureView(
        **{
            "name": "activity",
            "entities": (learner,),
            "schema": (CLICKS,),
            "source": FILES,
            **changed,
        }
    )


def on_demand(**changed: Any) -> Any:
    define = on_demand_feature_view(**{"sources": (activity,), "schema": (CLICKS,), **changed})
    return define(doubled)


def doubled(columns: Any) -> Any:
    """Twice the clicks.

    Nothing else.
    """
    return {"clicks": columns["clicks"]}


def test_a_view_tells_its_columns() -> None:
    assert attempts.key_names == ("learner", "skill")
    assert [key.dtype for key in attempts.join_keys] == [T.INT64, T.STRING]
    assert attempts.feature_names == ("count", "correct")
    assert attempts.field("correct") == Field("correct", T.FLOAT64)
    assert attempts.stored_source.path == "data/attempts"
    assert activity.stored_source is activity.source
    assert activity[["score", "clicks"]] == FeatureProjection(activity, ("score", "clicks"))
    assert [field.dtype for field in activity[["score", "clicks"]].fields] == [T.FLOAT32, T.INT64]


def test_a_view_computed_on_demand_tells_what_its_function_is_given() -> None:
    assert (pace.name, pace.description) == ("pace", "Clicks for each day that is left.")
    assert pace.input_names == ("clicks", "days_left")
    assert [field.name for field in pace.request_fields] == ["days_left"]
    assert pace.projections == (activity[["clicks"]],)
    assert pace[["pace"]].fields == pace.schema
    assert on_demand().description == "Twice the clicks."
    assert on_demand(description="Clicks.").description == "Clicks."


def test_a_service_keeps_the_order_that_is_asked_for() -> None:
    chosen = [(one.view.name, one.names) for one in service.projections]
    assert chosen == [("attempts", ("count", "correct")), ("activity", ("score", "clicks"))]


def test_events_of_a_kind_lie_in_its_folder() -> None:
    assert EventSource("attempt_events", "events/", "attempt").folder == "events/attempt"


def test_a_definition_never_changes() -> None:
    with pytest.raises(FrozenInstanceError):
        activity.ttl = timedelta(days=1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        (T.INT32, T.INT64, True),
        (T.INT32, T.FLOAT64, True),
        (T.BOOL, T.INT32, True),
        (T.FLOAT32, T.FLOAT64, True),
        (T.STRING, T.STRING, True),
        (T.INT64, T.FLOAT64, False),
        (T.INT64, T.INT32, False),
        (T.INT64, T.STRING, False),
    ],
)
def test_a_type_widens_to_one_that_holds_all_its_values(narrow: T, wide: T, expected: bool) -> None:
    assert narrow.widens_to(wide) is expected


REFUSED: list[tuple[Callable[[], object], str]] = [
    (
        lambda: Field("Clicks", T.INT64),
        "This is no name for a field.\n"
        "  where:    field 'Clicks'\n"
        "  expected: small letters, digits and single underscores, beginning with a letter\n"
        "  received: 'Clicks'",
    ),
    (
        lambda: Field("activity__clicks", T.INT64),
        "This is no name for a field.\n"
        "  where:    field 'activity__clicks'\n"
        "  expected: small letters, digits and single underscores, beginning with a letter\n"
        "  received: 'activity__clicks'",
    ),
    (
        lambda: Field("event_timestamp", T.TIMESTAMP),
        "No field can be named 'event_timestamp'.\n"
        "  where:    field 'event_timestamp'\n"
        "  expected: another name: this one is the moment that is asked about\n"
        "  received: 'event_timestamp'",
    ),
    (
        lambda: Field("clicks", "int64"),  # type: ignore[arg-type]
        "This is no FeatureType.\n"
        "  where:    field 'clicks', dtype\n"
        "  expected: one of FeatureType.BOOL, FeatureType.BYTES, FeatureType.FLOAT32,"
        " FeatureType.FLOAT32_LIST, FeatureType.FLOAT64, FeatureType.INT32, FeatureType.INT64,"
        " FeatureType.INT64_LIST, FeatureType.STRING, FeatureType.STRING_LIST,"
        " FeatureType.TIMESTAMP\n"
        "  received: 'int64'",
    ),
    (
        lambda: Field("clicks", T.INT64, "secret"),  # type: ignore[arg-type]
        "This is no Sensitivity.\n"
        "  where:    field 'clicks', sensitivity\n"
        "  expected: one of Sensitivity.BEHAVIOURAL, Sensitivity.IDENTIFIER, Sensitivity.NONE,"
        " Sensitivity.PROTECTED, Sensitivity.UNDER_AGE\n"
        "  received: 'secret'",
    ),
    (
        lambda: Entity("learner", ()),
        "An entity needs a join key.\n"
        "  where:    entity 'learner', join_keys\n"
        "  expected: at least one Field\n"
        "  received: none",
    ),
    (
        lambda: Entity("pair", (Field("learner", T.INT64), Field("learner", T.STRING))),
        "'learner' is there twice.\n"
        "  where:    entity 'pair', join_keys\n"
        "  expected: every name once\n"
        "  received: 'learner'",
    ),
    (
        lambda: Entity("learner", (Field("weight", T.FLOAT64),)),
        "Values of type float64 cannot be a join key.\n"
        "  where:    entity 'learner', join_keys\n"
        "  expected: one of int32, int64, string\n"
        "  received: 'weight' of float64",
    ),
    (
        lambda: ParquetSource("files", ""),
        "A source needs a path.\n"
        "  where:    source 'files'\n"
        "  expected: a file, a folder, a pattern or an s3:// URI\n"
        "  received: nothing",
    ),
    (
        lambda: ParquetSource("files", "data", ""),
        "A source needs the time at which things happened.\n"
        "  where:    source 'files', timestamp_field\n"
        "  expected: the name of a column\n"
        "  received: nothing",
    ),
    (
        lambda: EventSource("told", "events", "attempt", "at", "at"),
        "One column cannot be both times.\n"
        "  where:    source 'told'\n"
        "  expected: created_timestamp_column: another column, or none\n"
        "  received: 'at'",
    ),
    (
        lambda: EventSource("told", "events", "../attempt"),
        "This is no name for a kind of event.\n"
        "  where:    kind of event '../attempt'\n"
        "  expected: small letters, digits and single underscores, beginning with a letter\n"
        "  received: '../attempt'",
    ),
    (
        lambda: PushSource("stream", "data"),  # type: ignore[arg-type]
        "A push source needs a place for the rows pushed.\n"
        "  where:    source 'stream', batch_source\n"
        "  expected: a ParquetSource\n"
        "  received: str",
    ),
    (
        lambda: RequestSource("request", ()),
        "A request source needs a schema.\n"
        "  where:    source 'request'\n"
        "  expected: at least one Field\n"
        "  received: none",
    ),
    (
        lambda: view(entities=()),
        "A feature view needs entities and a schema.\n"
        "  where:    feature view 'activity', entities\n"
        "  expected: at least one\n"
        "  received: none",
    ),
    (
        lambda: view(schema=()),
        "A feature view needs entities and a schema.\n"
        "  where:    feature view 'activity', schema\n"
        "  expected: at least one\n"
        "  received: none",
    ),
    (
        lambda: view(schema=(CLICKS, Field("learner", T.INT64))),
        "'learner' is there twice.\n"
        "  where:    feature view 'activity', keys and schema\n"
        "  expected: every name once\n"
        "  received: 'learner'",
    ),
    (
        lambda: view(ttl=timedelta(0)),
        "A feature must hold for some time.\n"
        "  where:    feature view 'activity', ttl\n"
        "  expected: more than nothing, or None for ever\n"
        "  received: datetime.timedelta(0)",
    ),
    (
        lambda: view(schema=(Field("recorded_at", T.TIMESTAMP),)),
        "'recorded_at' is a time of the source and cannot be a feature too.\n"
        "  where:    feature view 'activity', schema\n"
        "  expected: other columns than happened_at, recorded_at\n"
        "  received: 'recorded_at'",
    ),
    (
        lambda: view(purposes=("any use",)),
        "This is no name for a purpose.\n"
        "  where:    purpose 'any use'\n"
        "  expected: small letters, digits and single underscores, beginning with a letter\n"
        "  received: 'any use'",
    ),
    (
        lambda: activity[["click"]],
        "There is no feature 'click'.\n"
        "  where:    feature view 'activity'\n"
        "  expected: did you mean 'clicks'?\n"
        "  received: 'click'",
    ),
    (
        lambda: pace[["place"]],
        "There is no feature 'place'.\n"
        "  where:    on-demand feature view 'pace'\n"
        "  expected: did you mean 'pace'?\n"
        "  received: 'place'",
    ),
    (
        lambda: activity[["clicks", "clicks"]],
        "'clicks' is there twice.\n"
        "  where:    feature view 'activity', features chosen\n"
        "  expected: every name once\n"
        "  received: 'clicks'",
    ),
    (
        lambda: on_demand(sources=()),
        "An on-demand feature view needs sources and a schema.\n"
        "  where:    on-demand feature view 'doubled', sources\n"
        "  expected: at least one\n"
        "  received: none",
    ),
    (
        lambda: on_demand(sources=(pace,)),
        "An on-demand feature view is computed from stored features and the request.\n"
        "  where:    on-demand feature view 'doubled', sources\n"
        "  expected: a FeatureView, features of one, or a RequestSource\n"
        "  received: 'pace', computed on demand itself",
    ),
    (
        lambda: on_demand(sources=(REQUEST, RequestSource("other", REQUEST.schema))),
        "'days_left' is there twice.\n"
        "  where:    on-demand feature view 'doubled', sources\n"
        "  expected: every name once\n"
        "  received: 'days_left'",
    ),
    (
        lambda: FeatureService("tutor", ()),
        "A feature service needs features.\n"
        "  where:    feature service 'tutor', features\n"
        "  expected: at least one view, or features of one\n"
        "  received: none",
    ),
    (
        lambda: FeatureService("tutor", (activity[["clicks"]], activity[["score"]])),
        "'activity' is there twice.\n"
        "  where:    feature service 'tutor', features\n"
        "  expected: every name once\n"
        "  received: 'activity'",
    ),
    (
        lambda: FeatureService("tutor", (activity[["clicks"]], on_demand())),
        "'clicks' is there twice.\n"
        "  where:    feature service 'tutor', features\n"
        "  expected: every name once\n"
        "  received: 'clicks'",
    ),
]


@pytest.mark.parametrize(("define", "message"), REFUSED)
def test_a_definition_that_contradicts_itself(define: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        define()
    assert str(refused.value) == message
