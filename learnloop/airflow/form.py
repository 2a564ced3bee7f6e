"""The trigger form of a DAG: a pipeline's parameters, then how to run.

A parameter's type becomes JSON Schema, which Airflow shows as a field and checks before a run is
made. What the form gives back, a schedule's data interval included, becomes the pipeline's
parameters and the run's options.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from learnloop.component import MISSING, Json
from learnloop.errors import GraphError, UsageError, closest
from learnloop.pipeline import Graph, Pipeline

if TYPE_CHECKING:
    from learnloop.runner import RunOptions

PIPELINE_SECTION = "Parameters of the pipeline"
RUN_SECTION = "This run"
RUN_FIELDS = ("cause", "force", "use_cache", "overrides")
SPANNED_RUNS = ("scheduled", "backfill")
EMPTY: Mapping[str, Json] = {"string": "", "array": [], "object": {}}
"""Values that Airflow's form takes for missing, unless null is allowed; it then sends null."""


@dataclass(frozen=True)
class Interval:
    """The parameters that a scheduled run's data interval fills.

    Args:
        since: Takes the interval's start.
        until: Takes its end, which no longer belongs to it.
    """

    since: str
    until: str


def form_fields(pipeline: Pipeline[...], graph: Graph) -> dict[str, Param]:
    """Describe the form.

    Args:
        pipeline: Its parameters become fields.
        graph: Holds the values shown first, and the steps that can be named.

    Returns:
        Airflow parameters by name.

    Raises:
        GraphError: A parameter has the name of one of the form's own fields.
    """
    for name in RUN_FIELDS:
        if name in pipeline.parameters:
            raise GraphError(
                f"Parameter '{name}' has the name of a field that every DAG's form has.",
                where=pipeline.reference,
                next="give the parameter another name",
            )
    descriptions = argument_descriptions(pipeline.description)
    fields = {}
    for name, parameter in pipeline.parameters.items():
        schema = field_schema(parameter.json_schema())
        if not isinstance(schema.get("description"), str):
            schema["description"] = descriptions.get(name, "").replace("`", "")
        value = graph.parameters[name]
        if value in EMPTY.values() and schema.get("type") in EMPTY:
            schema["type"] = [schema["type"], "null"]
        fields[name] = Param(value, title=name, section=PIPELINE_SECTION, **schema)
    return fields | _run_fields(tuple(graph.nodes))


def _run_fields(steps: Sequence[str]) -> dict[str, Param]:
    return {
        "cause": Param(
            "",
            type=["string", "null"],
            title="cause",
            description="Why this run is wanted; the ledger keeps it.",
            section=RUN_SECTION,
        ),
        "force": Param(
            [],
            type=["array", "null"],
            items={"type": "string"},
            examples=list(steps),
            title="force",
            description="Steps to execute whatever the cache holds.",
            section=RUN_SECTION,
        ),
        "use_cache": Param(
            True,
            type="boolean",
            title="use_cache",
            description="Reuse what equal steps made before.",
            section=RUN_SECTION,
        ),
        "overrides": Param(
            {},
            type=["object", "null"],
            additionalProperties={"type": "string", "minLength": 1},
            title="overrides",
            description='Gates to let pass though they refuse, each with the reason: {"validate": '
            '"marks were late this term"}. Your name and the reason are recorded.',
            section=RUN_SECTION,
        ),
    }


def field_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Put a type's JSON Schema into the shape that Airflow's form can draw.

    Args:
        schema: As pydantic gives it.

    Returns:
        An optional type as a list of types; a single choice as a list of one.

    Example:
        >>> field_schema({"anyOf": [{"type": "string"}, {"type": "null"}]})
        {'type': ['string', 'null']}
    """
    flat = {name: value for name, value in schema.items() if name not in ("title", "default")}
    if "const" in flat:
        flat["enum"] = [flat.pop("const")]
    members = flat.get("anyOf", [])
    present = [member for member in members if member.get("type") != "null"]
    if len(present) == 1 and len(members) == 2 and isinstance(present[0].get("type"), str):
        member = field_schema(present[0])
        del flat["anyOf"]
        flat.update(member, type=[member["type"], "null"])
        if "enum" in member:
            flat["enum"] = [*member["enum"], None]
    return flat


def argument_descriptions(docstring: str) -> dict[str, str]:
    """Read the ``Args:`` section of a Google-style docstring.

    Args:
        docstring: The text, without the indentation of the code.

    Returns:
        Description by argument, each in one line.
    """
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", docstring, re.MULTILINE)
    if section is None:
        return {}
    lines = inspect.cleandoc("\n" + section[1])
    entries = re.findall(r"^(\w+)[^:\n]*:[ \t]*(.*(?:\n[ \t]+.*)*)", lines, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def initial_parameters(pipeline: Pipeline[...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Find the values that the form shows first and that a schedule uses.

    Args:
        pipeline: Its defaults fill what is not given.
        given: Values by name.

    Raises:
        UsageError: A parameter has neither a default nor a value.
    """
    missing = [
        name
        for name, parameter in pipeline.parameters.items()
        if parameter.default is MISSING and name not in given
    ]
    if missing:
        raise UsageError(
            "A DAG needs a value for every parameter, for its schedule and its form.",
            where=pipeline.reference,
            expected=f"a value for {', '.join(missing)}",
            next=f"airflow_dag({pipeline.name}, parameters={{'{missing[0]}': …}})",
        )
    return pipeline.validate(given)


def check_interval(pipeline: Pipeline[...], interval: Interval) -> None:
    """Check that a data interval has parameters to fill.

    Args:
        pipeline: The pipeline.
        interval: Names two of its parameters.

    Raises:
        UsageError: The pipeline has no such parameter.
    """
    for name in (interval.since, interval.until):
        if name not in pipeline.parameters:
            raise UsageError(
                f"Pipeline '{pipeline.name}' has no parameter '{name}' for the data interval.",
                where=pipeline.reference,
                expected=closest(name, pipeline.parameters),
                received=repr(name),
            )


def read_parameters(
    pipeline: Pipeline[...], interval: Interval | None, context: Mapping[str, Any]
) -> dict[str, Json]:
    """Read the pipeline's parameters of one run.

    Args:
        pipeline: The pipeline.
        interval: The parameters that a scheduled or backfilled run's data interval fills, unless
            the run was given them.
        context: Airflow's context of a task.

    Returns:
        A value for every parameter.
    """
    dag_run = context["dag_run"]
    values = {name: context["params"][name] for name in pipeline.parameters}
    for name, parameter in pipeline.parameters.items():
        if values[name] is None:
            values[name] = EMPTY.get(str(parameter.json_schema().get("type")))
    if interval is not None and dag_run.run_type in SPANNED_RUNS:
        span = {
            interval.since: dag_run.data_interval_start.isoformat(),
            interval.until: dag_run.data_interval_end.isoformat(),
        }
        values.update({n: value for n, value in span.items() if n not in (dag_run.conf or {})})
    return values


def read_options(context: Mapping[str, Any], run_id: str) -> RunOptions:
    """Read how a run is to go, why it exists and who wants it.

    Args:
        context: Airflow's context of a task.
        run_id: The run's id in the ledger.
    """
    from learnloop.runner import RunOptions

    fields = context["params"]
    return RunOptions(
        force=tuple(fields["force"] or ()),
        use_cache=fields["use_cache"],
        overrides=fields["overrides"] or {},
        cause=fields["cause"] or describe_cause(context),
        user=context["dag_run"].triggering_user_name or "airflow",
        run_id=run_id,
    )


def describe_cause(context: Mapping[str, Any]) -> str:
    """Say in a few words why Airflow made a run.

    Args:
        context: Airflow's context of a task.
    """
    dag_run = context["dag_run"]
    kind = str(getattr(dag_run.run_type, "value", dag_run.run_type))
    if kind in SPANNED_RUNS and dag_run.data_interval_start is not None:
        begin, end = dag_run.data_interval_start, dag_run.data_interval_end
        name = "schedule" if kind == "scheduled" else kind
        return f"{name}, for {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
    if kind == "asset_triggered":
        assets = sorted(str(asset.name) for asset in context["triggering_asset_events"])
        return f"new: {', '.join(assets)}"
    return f"started by {dag_run.triggering_user_name or 'a person'} in Airflow"
