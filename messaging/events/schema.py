"""What a learner event is: its kinds, their columns, and the JSON Schema that says the same.

The schema file is the contract with the platform; the Arrow schemas here are what parts on disk
hold. A test holds the two together.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pyarrow as pa

TOPIC = "learner-events"
VERSION = 1
AT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
MOMENT = pa.timestamp("us", tz="UTC")
_ENVELOPE = {"source": pa.string(), "sequence": pa.int64(), "learner": pa.string()}


@dataclass(frozen=True)
class Kind:
    """A kind of event.

    Args:
        columns: Arrow type by field, beyond the envelope's.
        optional: The fields that may be left out.
    """

    columns: dict[str, pa.DataType]
    optional: frozenset[str] = frozenset()

    @property
    def required(self) -> tuple[str, ...]:
        """The fields that every event of the kind has."""
        return tuple(name for name in self.columns if name not in self.optional)


_COURSE = {"course": pa.string(), "presentation": pa.string()}
KINDS = {
    "assessment": Kind({**_COURSE, "assessment": pa.string(), "score": pa.float64()}),
    "attempt": Kind(
        {"skill": pa.string(), "item": pa.string(), "correct": pa.bool_()}, frozenset({"item"})
    ),
    "click": Kind({**_COURSE, "site": pa.string(), "clicks": pa.int64()}),
    "enrolment": Kind({**_COURSE, "action": pa.string()}),
}


def message_schema() -> pa.Schema:
    """Name every field that a message of any kind may have; ``at`` is still text."""
    columns: dict[str, pa.DataType] = {
        "version": pa.int64(),
        "kind": pa.string(),
        "at": pa.string(),
        **_ENVELOPE,
    }
    for kind in KINDS.values():
        columns.update(kind.columns)
    return pa.schema(list(columns.items()))


def part_schema(kind: str) -> pa.Schema:
    """Name the columns of a part on disk.

    Args:
        kind: The kind of its events.

    Returns:
        When it happened (``at``), when it was told (``recorded_at``), and the kind's own columns.
    """
    moments = {"at": MOMENT, "recorded_at": MOMENT}
    return pa.schema(list({**moments, **_ENVELOPE, **KINDS[kind].columns}.items()))


@functools.cache
def event_schema() -> dict[str, Any]:
    """Read the JSON Schema of an event."""
    text = resources.files("messaging").joinpath("schemas/learner_event.v1.json").read_text()
    document: dict[str, Any] = json.loads(text)
    return document


def explain(value: bytes) -> str:
    """Say in a sentence why a message is no event; never with what it holds.

    Args:
        value: The message.

    Returns:
        The first fault, or "" for an event.
    """
    import jsonschema

    try:
        document = json.loads(value)
    except ValueError:
        return "It is not JSON in UTF-8."
    validator = jsonschema.Draft202012Validator(event_schema())
    fault = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if fault is None:
        return ""
    field = fault.json_path.removeprefix("$").removeprefix(".") or "the message"
    rule = json.dumps(fault.validator_value)
    return f"{field} breaks the rule '{fault.validator}': {rule}."
