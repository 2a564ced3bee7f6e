"""The policy of each pipeline: ``policies.toml`` in the project's root.

``[default]`` holds for every pipeline; a table of a pipeline's name changes what it names.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from learnloop.errors import UsageError

FILE = "policies.toml"
DEFAULT = "default"
Span = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")]


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Policy:
    """When a pipeline may be run again.

    Args:
        minimum_new_rows: Labelled rows that the champion has not seen, at least.
        enough_new_rows: So many are worth a run, whatever the champion's AUC.
        cool_down_hours: Hours between two runs.
        quiet_hours: Spans of the day in which no run begins, as ``HH:MM-HH:MM``.
        time_zone: Of the quiet hours.
        runs_a_day: Runs that messages may cause within 24 hours.
        minimum_gain: AUC that the champion must surely have lost, which a new model may win back.
        burst_seconds: How long after a run was asked for an equal request counts as the same.
    """

    minimum_new_rows: Annotated[int, Field(ge=0)] = 500
    enough_new_rows: Annotated[int, Field(ge=0)] = 10_000
    cool_down_hours: Annotated[float, Field(ge=0)] = 12.0
    quiet_hours: tuple[Span, ...] = ()
    time_zone: str = "UTC"
    runs_a_day: Annotated[int, Field(ge=0)] = 2
    minimum_gain: Annotated[float, Field(ge=0, le=1)] = 0.005
    burst_seconds: Annotated[float, Field(ge=0)] = 30.0

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone '{name}'") from None
        return name


@dataclass(frozen=True)
class Policies:
    """The policies of all pipelines.

    Args:
        default: Holds for pipelines that have none of their own.
        own: Policy by pipeline.
    """

    default: Policy = field(default_factory=Policy)
    own: Mapping[str, Policy] = field(default_factory=dict)

    def of(self, pipeline: str) -> Policy:
        """The policy of a pipeline."""
        return self.own.get(pipeline, self.default)


def load_policies(root: Path) -> Policies:
    """Read the policies of a project.

    Args:
        root: The project's root.

    Returns:
        The built-in policy for every pipeline where there is no file.

    Raises:
        UsageError: The file is not TOML, or a value does not fit.
    """
    path = root / FILE
    return read_policies(path) if path.is_file() else Policies()


def read_policies(path: Path) -> Policies:
    """Read a file of policies.

    Args:
        path: The file.

    Raises:
        UsageError: It cannot be read, is not TOML, or a value does not fit.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise UsageError(
            "The file of policies cannot be read.", where=path, received=fault.strerror or fault
        ) from None
    except ValueError as fault:
        raise UsageError("The file of policies is not TOML.", where=path, received=fault) from None
    common = tables.pop(DEFAULT, {})
    default = _policy(DEFAULT, common, path)
    own = {
        name: _policy(name, {**common, **_table(name, t, path)}, path) for name, t in tables.items()
    }
    return Policies(default, own)


def _table(name: str, table: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise UsageError(
            f"'{name}' is no policy.",
            where=path,
            expected=f"a table [{DEFAULT}], or one of a pipeline's name",
            received=f"{name} = {table!r}",
        )
    return table


def _policy(name: str, values: Any, path: Path) -> Policy:
    try:
        return TypeAdapter(Policy).validate_python(dict(_table(name, values, path)))
    except ValidationError as fault:
        error = fault.errors()[0]
        place = ".".join(str(part) for part in (name, *error["loc"]))
        raise UsageError(
            f"A policy does not fit: {error['msg']}.",
            where=f"{path}, {place}",
            received=repr(error["input"]),
            next="docs/retraining.md lists the settings",
        ) from None
