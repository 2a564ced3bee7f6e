"""A suite of expectations: an author's JSON file, in Great Expectations' own words.

One object per expectation::

    [{"type": "expect_column_values_to_be_between",
      "kwargs": {"column": "score", "min_value": 0, "max_value": 100, "mostly": 0.99},
      "splits": ["train"], "severity": "warning"}]

``splits`` and ``severity`` (``critical`` by default) may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation as Judge

POSITION = "position"
"""Where a judge keeps its place in the suite; results come in another order."""

_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
_SEVERITIES = ("critical", "warning", "info")
_KEYS = {"type", "kwargs", "splits", "severity"}
_SHAPE = '[{"type": "expect_…", "kwargs": {…}}, …]'


@dataclass(frozen=True)
class Expectation:
    """One entry of a suite.

    Args:
        type: Great Expectations' name, such as ``expect_column_values_to_be_between``.
        kwargs: Its arguments.
        splits: The splits it is for; empty for all.
        severity: ``critical``, ``warning`` or ``info``.
    """

    type: str
    kwargs: Mapping[str, Any]
    splits: tuple[str, ...] = ()
    severity: str = "critical"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it names."""
        named: list[str] = []
        for argument in _COLUMN_ARGUMENTS:
            value = self.kwargs.get(argument, [])
            named.extend([value] if isinstance(value, str) else value)
        return tuple(named)

    @property
    def settings(self) -> dict[str, Any]:
        """Its arguments other than columns."""
        return {name: value for name, value in self.kwargs.items() if name not in _COLUMN_ARGUMENTS}

    @property
    def consequence(self) -> Literal["error", "warning"]:
        """What a failure means for the gate."""
        return "error" if self.severity == "critical" else "warning"

    @property
    def is_about_column_names(self) -> bool:
        """Whether it judges which columns there are."""
        return self.type.startswith("expect_table_column") or self.type == "expect_column_to_exist"

    @property
    def is_row_by_row(self) -> bool:
        """Whether each row is judged by itself, so that parts of a split add up to the whole."""
        by_row = self.type.startswith(("expect_column_values", "expect_column_pair_values"))
        return by_row and not any(word in self.type for word in ("unique", "z_score", "type"))

    def can_be_asked(self, names: Collection[str]) -> bool:
        """Tell whether the columns it needs are among these."""
        return self.is_about_column_names or set(names).issuperset(self.columns)


def read_suite(text: str, where: object) -> tuple[Expectation, ...]:
    """Parse a suite.

    Args:
        text: JSON.
        where: The file, for the error.

    Returns:
        The expectations, in the file's order.

    Raises:
        UsageError: The text is no list of objects with ``type`` and ``kwargs``.
    """
    try:
        entries = json.loads(text)
    except ValueError as fault:
        raise UsageError(
            "A suite of expectations is no JSON.", where=where, expected=_SHAPE, received=fault
        ) from None
    if not isinstance(entries, list):
        raise UsageError(
            "A suite of expectations is a list.",
            where=where,
            expected=_SHAPE,
            received=type(entries).__name__,
        )
    return tuple(_read_entry(entry, f"{where}, entry {n}") for n, entry in enumerate(entries, 1))


def _read_entry(entry: Any, where: str) -> Expectation:
    if not isinstance(entry, dict) or not {"type", "kwargs"} <= set(entry) <= _KEYS:
        raise UsageError(
            "An expectation has other fields than it should.",
            where=where,
            expected="type, kwargs and, where wanted, splits and severity",
            received=", ".join(entry) if isinstance(entry, dict) else repr(entry),
        )
    severity, splits = entry.get("severity", "critical"), entry.get("splits", ())
    if severity not in _SEVERITIES:
        raise UsageError(
            "An expectation has no such severity.",
            where=where,
            expected="critical, warning or info",
            received=repr(severity),
        )
    return Expectation(entry["type"], entry["kwargs"], tuple(splits), severity)


def make_judge(expectation: Expectation, position: int, where: str) -> Judge:
    """Make Great Expectations' object for an expectation.

    Args:
        expectation: The entry of the suite.
        position: Its place among those judged together, kept under :data:`POSITION`.
        where: The suite, for the error.

    Returns:
        The object, its arguments checked.

    Raises:
        UsageError: There is no such expectation, or it does not take these arguments.
    """
    import great_expectations as gx

    class_name = "".join(part.capitalize() for part in expectation.type.split("_"))
    known = [name for name in dir(gx.expectations) if name.startswith("Expect")]
    if class_name not in known:
        snake = ["".join(f"_{c.lower()}" if c.isupper() else c for c in n)[1:] for n in known]
        raise UsageError(
            "Great Expectations knows no such expectation.",
            where=where,
            expected=closest(expectation.type, snake),
            received=repr(expectation.type),
        )
    try:
        judge: Judge = getattr(gx.expectations, class_name)(
            **expectation.kwargs, meta={POSITION: position}
        )
    except (ValueError, TypeError) as fault:
        raise UsageError(
            "An expectation does not take these arguments.",
            where=f"{where}, {expectation.type}",
            expected="the arguments in Great Expectations' gallery",
            received=" ".join(str(fault).split()),
        ) from None
    return judge
