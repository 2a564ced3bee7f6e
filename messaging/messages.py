"""The message that asks for a pipeline to be run again: made, checked, written and read.

Its schema is ``messaging/schemas/retrain_requested.v1.json``. What does not fit is poison: it is
refused with the place and the rule, never with its words, which could be anything.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from learnloop.errors import UsageError

Json = Any
TYPE, VERSION = "retrain.requested", 1
REASONS = ("drift", "live_quality", "new_data", "schedule", "person", "erasure")
ERASURE = "erasure"
"""A model was trained with a person who was erased: policies may delay it, and not refuse it."""
SCHEMAS = Path(__file__).parent / "schemas"
MAXIMUM_BYTES = 65_536


class PoisonMessage(UsageError):
    """A message that is not a request to retrain; sending it again will not mend it."""


@dataclass(frozen=True)
class RetrainRequest:
    """A request to run a pipeline again.

    Args:
        message_id: A UUID; a request that is sent twice bears the same.
        pipeline: The pipeline's name.
        reason: One of :data:`REASONS`.
        requested_by: Who asks: a person or a monitor.
        requested_at: When, with a time zone.
        parameters: Parameters of the pipeline that shall differ from its DAG's.
        evidence: Figures that the request rests on, as the schema has them.
        override: Why a person wants the run whatever the policy says; "" otherwise.
    """

    message_id: str
    pipeline: str
    reason: str
    requested_by: str
    requested_at: datetime
    parameters: Mapping[str, Json] = field(default_factory=dict)
    evidence: Mapping[str, Json] = field(default_factory=dict)
    override: str = ""

    @property
    def parameters_digest(self) -> str:
        """Stands for the parameters: equal where they are."""
        text = json.dumps(self.parameters, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Json]:
        """The message as its schema describes it."""
        moment = self.requested_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        document = {
            "type": TYPE,
            "version": VERSION,
            "message_id": self.message_id,
            "pipeline": self.pipeline,
            "reason": self.reason,
            "requested_by": self.requested_by,
            "requested_at": moment,
            "parameters": dict(self.parameters),
            "evidence": dict(self.evidence),
        }
        return {**document, "override": self.override} if self.override else document

    def to_bytes(self) -> bytes:
        """The message as it is sent.

        Raises:
            PoisonMessage: It does not fit its schema, and nobody would take it.
        """
        body = json.dumps(self.to_json()).encode()
        parse_request(body)
        return body


def new_request(
    pipeline: str,
    reason: str,
    requested_by: str,
    *,
    parameters: Mapping[str, Json] | None = None,
    evidence: Mapping[str, Json] | None = None,
    override: str = "",
) -> RetrainRequest:
    """Make a request, of this moment and with an id of its own.

    Args:
        pipeline: The pipeline's name.
        reason: One of :data:`REASONS`.
        requested_by: Who asks.
        parameters: Parameters that shall differ.
        evidence: Figures that it rests on.
        override: Why a person wants it whatever the policy says.

    Example:
        >>> new_request("learner_outcome", "new_data", "ingest").pipeline
        'learner_outcome'
    """
    return RetrainRequest(
        message_id=str(uuid.uuid4()),
        pipeline=pipeline,
        reason=reason,
        requested_by=requested_by,
        requested_at=datetime.now(UTC),
        parameters=parameters or {},
        evidence=evidence or {},
        override=override,
    )


def parse_request(body: bytes) -> RetrainRequest:
    """Read a message.

    Args:
        body: What was sent.

    Raises:
        PoisonMessage: It is not JSON, or does not fit the schema.
    """
    document = _load(body)
    error = next(_validator().iter_errors(document), None)
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path)
        raise PoisonMessage(
            "The message does not fit its schema.",
            where=f"field '{place}'" if place else "the whole message",
            expected=_rule(error.validator, error.validator_value),
            next="messaging/schemas/retrain_requested.v1.json has the schema",
        )
    try:
        requested_at = datetime.fromisoformat(document["requested_at"]).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PoisonMessage(
            "The message does not fit its schema.",
            where="field 'requested_at'",
            expected="a moment that there is",
        ) from None
    return RetrainRequest(
        message_id=document["message_id"],
        pipeline=document["pipeline"],
        reason=document["reason"],
        requested_by=document["requested_by"],
        requested_at=requested_at,
        parameters=document["parameters"],
        evidence=document["evidence"],
        override=document.get("override", ""),
    )


def poison_id(body: bytes) -> str:
    """Name a message that has no id that can be trusted.

    Args:
        body: What was sent.
    """
    return "poison-" + hashlib.sha256(body).hexdigest()[:40]


def _load(body: bytes) -> Any:
    if len(body) > MAXIMUM_BYTES:
        raise PoisonMessage(
            "The message is too large.",
            expected=f"at most {MAXIMUM_BYTES} bytes",
            received=f"{len(body)} bytes",
        )
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        text.encode()  # a lone surrogate is legal JSON, and no database takes it
        if "\\u0000" in text:
            raise ValueError
    except (ValueError, RecursionError):
        raise PoisonMessage(
            "The message is not JSON.", expected="one JSON object in UTF-8, no NaN, no zero bytes"
        ) from None
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _rule(validator: str, value: Any) -> str:
    """Say what the schema asks for, without a word of what was sent."""
    if validator == "required":
        return "fields " + ", ".join(value)
    if validator == "additionalProperties":
        return "no field that the schema does not have"
    if validator in ("const", "enum"):
        return "one of " + ", ".join(map(str, value)) if validator == "enum" else str(value)
    return f"{validator}: {value}"


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    schema = json.loads((SCHEMAS / f"retrain_requested.v{VERSION}.json").read_text())
    return Draft202012Validator(schema)
