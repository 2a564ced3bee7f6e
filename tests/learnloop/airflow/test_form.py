"""The trigger form: from types to fields, and from what a run was given to parameters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from airflow.sdk import Asset
from airflow.sdk.api.datamodels._generated import DagRun, DagRunState, DagRunType

from learnloop.airflow.form import (
    Interval,
    argument_descriptions,
    describe_cause,
    field_schema,
    initial_parameters,
    read_options,
    read_parameters,
)
from learnloop.component import CodeReference, File, Parameter
from learnloop.errors import UsageError
from learnloop.pipeline import pipeline
from tests.learnloop import steps


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (int | None, {"type": ["integer", "null"]}),
        (File, {"type": "string"}),
        (CodeReference, {"type": "string"}),
        (Literal["fast", "slow"], {"enum": ["fast", "slow"], "type": "string"}),
        (Literal["fast"], {"enum": ["fast"], "type": "string"}),
        (Literal["fast"] | None, {"enum": ["fast", None], "type": ["string", "null"]}),
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (list[int] | None, {"type": ["array", "null"], "items": {"type": "integer"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (datetime, {"type": "string", "format": "date-time"}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
    ],
)
def test_a_type_becomes_a_field(annotation: Any, schema: dict[str, Any]) -> None:
    assert field_schema(Parameter("x", annotation).json_schema()) == schema


def test_descriptions_come_from_the_docstring() -> None:
    docstring = (
        "Do it.\n\nArgs:\n    names: Whom to greet,\n        by name: first and last.\n"
        "    mode (str): How.\n\n    last: The last.\n\nReturns:\n    nothing: At all.\n"
    )
    assert argument_descriptions(docstring) == {
        "names": "Whom to greet, by name: first and last.",
        "mode": "How.",
        "last": "The last.",
    }
    assert argument_descriptions("Do it.") == {}


@pipeline
def needy(source: str, since: str = "", until: str = "", count: int = 1) -> None:
    """Need a source."""
    steps.make(start=count)


def test_a_parameter_without_a_value() -> None:
    with pytest.raises(UsageError) as caught:
        initial_parameters(needy, {"count": 2})
    assert str(caught.value) == (
        "A DAG needs a value for every parameter, for its schedule and its form.\n"
        "  where:    tests.learnloop.airflow.test_form:needy\n"
        "  expected: a value for source\n"
        "  next:     airflow_dag(needy, parameters={'source': …})"
    )
    values = initial_parameters(needy, {"source": "here"})
    assert values == {"source": "here", "since": "", "until": "", "count": 1}


def context(kind: str, conf: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What a task of a run of ``needy`` is given, in Airflow's own types."""
    moment = datetime(2024, 9, 2, 4, tzinfo=UTC)
    spanned = kind in ("scheduled", "backfill")
    run = DagRun(
        dag_id="needy",
        run_id="one",
        run_type=DagRunType(kind),
        state=DagRunState.RUNNING,
        run_after=moment,
        data_interval_start=datetime(2024, 9, 1, 4, tzinfo=UTC) if spanned else None,
        data_interval_end=moment if spanned else None,
        conf=conf,
        consumed_asset_events=[],
        triggering_user_name="ada" if kind == "manual" else None,
    )
    fields = {"source": "here", "since": "", "until": "", "count": 1}
    chosen = {"cause": "", "force": [], "use_cache": True, "overrides": {}}
    return {"dag_run": run, "params": fields | chosen | (conf or {}), **more}


SPAN = Interval("since", "until")
DAY = {"since": "2024-09-01T04:00:00+00:00", "until": "2024-09-02T04:00:00+00:00"}


@pytest.mark.parametrize(
    ("kind", "conf", "interval", "changed"),
    [
        ("scheduled", None, SPAN, DAY),
        ("backfill", {"count": 5}, SPAN, {**DAY, "count": 5}),
        ("backfill", {"until": "2024-09-01"}, SPAN, {**DAY, "until": "2024-09-01"}),
        ("scheduled", None, None, {}),
        ("manual", {"since": "2024-08-01"}, SPAN, {"since": "2024-08-01"}),
        ("asset_triggered", None, SPAN, {}),
    ],
)
def test_the_data_interval_fills_parameters(
    kind: str, conf: dict[str, Any] | None, interval: Interval | None, changed: dict[str, Any]
) -> None:
    values = read_parameters(needy, interval, context(kind, conf))
    assert values == {"source": "here", "since": "", "until": "", "count": 1, **changed}


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (context("scheduled"), "schedule, for 2024-09-01 04:00 to 2024-09-02 04:00"),
        (context("backfill"), "backfill, for 2024-09-01 04:00 to 2024-09-02 04:00"),
        (context("manual"), "started by ada in Airflow"),
        (
            context(
                "asset_triggered",
                triggering_asset_events={
                    Asset("b"): 1,
                    Asset("a"): 1,
                },
            ),
            "new: a, b",
        ),
    ],
)
def test_the_cause_is_told(given: dict[str, Any], cause: str) -> None:
    assert describe_cause(given) == cause


def test_options_come_from_the_form() -> None:
    given = {
        "cause": "message 7: drift",
        "force": ["make"],
        "use_cache": False,
        "overrides": {"judge": "late marks"},
    }
    options = read_options(context("manual", given), "needy-one")
    assert options.cause == "message 7: drift"
    assert options.force == ("make",)
    assert options.use_cache is False
    assert options.overrides == {"judge": "late marks"}
    assert (options.user, options.run_id) == ("ada", "needy-one")
    assert read_options(context("scheduled"), "x").user == "airflow"
