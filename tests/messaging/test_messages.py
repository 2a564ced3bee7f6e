"""The schema, its golden examples, and what is refused without a word of it being told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from messaging.messages import (
    MAXIMUM_BYTES,
    SCHEMAS,
    PoisonMessage,
    RetrainRequest,
    new_request,
    parse_request,
    poison_id,
)
from tests.messaging.requests import a_request, requests

EXAMPLES = json.loads((SCHEMAS / "examples" / "retrain_requested.v1.json").read_text())
NO_FIT, SCHEMA = (
    "The message does not fit its schema.",
    "messaging/schemas/retrain_requested.v1.json",
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["reason"])
def test_a_golden_example_is_read_and_written_back(example: dict[str, Any]) -> None:
    request = parse_request(json.dumps(example).encode())
    assert request.message_id == example["message_id"]
    written = json.loads(request.to_bytes())
    moment = datetime.fromisoformat(example["requested_at"])
    assert datetime.fromisoformat(written.pop("requested_at")) == moment
    assert written == {name: v for name, v in example.items() if name != "requested_at"}


def test_a_message_is_this_to_the_letter() -> None:
    request = RetrainRequest(
        message_id="0b6f1b0e-6f5f-4d5e-9d0b-3a4f8a3f2a11",
        pipeline="learner_outcome",
        reason="person",
        requested_by="ada",
        requested_at=datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
        parameters={"epochs": 20},
        evidence={"note": "asked for by the course team"},
        override="the marks of module BBB were corrected",
    )
    assert json.loads(request.to_bytes()) == EXAMPLES[0]


@given(requests)
def test_any_request_that_fits_comes_back_as_it_was(request: RetrainRequest) -> None:
    if request.override:
        request = RetrainRequest(**{**vars(request), "reason": "person"})
    assert parse_request(request.to_bytes()) == request


def test_the_digest_of_parameters_heeds_no_order() -> None:
    one = a_request(1, parameters={"a": 1, "b": 2}).parameters_digest
    assert one == a_request(2, parameters={"b": 2, "a": 1}).parameters_digest
    assert one != a_request(3, parameters={"a": 1, "b": 3}).parameters_digest


def test_two_new_requests_have_two_ids() -> None:
    one, other = (new_request("p", "schedule", "cron") for _ in range(2))
    assert one.message_id != other.message_id


def changed(**values: Any) -> bytes:
    """The third example with other values; None removes a field."""
    document = {**EXAMPLES[2], **values}
    return json.dumps({n: v for n, v in document.items() if v is not None}).encode()


POISON = [
    (b"", "The message is not JSON.", "", "one JSON object in UTF-8, no NaN, no zero bytes"),
    (
        b"\xff\xfe",
        "The message is not JSON.",
        "",
        "one JSON object in UTF-8, no NaN, no zero bytes",
    ),
    (
        b"[" * 60_000,
        "The message is not JSON.",
        "",
        "one JSON object in UTF-8, no NaN, no zero bytes",
    ),
    (
        changed(parameters={"x": "a\u0000b"}),
        "The message is not JSON.",
        "",
        "one JSON object in UTF-8, no NaN, no zero bytes",
    ),
    (
        b'{"x": "\\ud800"}',
        "The message is not JSON.",
        "",
        "one JSON object in UTF-8, no NaN, no zero bytes",
    ),
    (
        changed(parameters={"x": float("nan")}),
        "The message is not JSON.",
        "",
        "one JSON object in UTF-8, no NaN, no zero bytes",
    ),
    (
        changed().replace(b"0.31", b"1e999"),
        "The message is not JSON.",
        "",
        "one JSON object in UTF-8, no NaN, no zero bytes",
    ),
    (b"[]", NO_FIT, "the whole message", "type: object"),
    (changed(version=2), NO_FIT, "field 'version'", "1"),
    (changed(learner="Ada"), NO_FIT, "the whole message", "no field that the schema does not have"),
    (
        changed(evidence={"learners": ["Ada"]}),
        NO_FIT,
        "field 'evidence'",
        "no field that the schema does not have",
    ),
    (
        changed(reason="boredom"),
        NO_FIT,
        "field 'reason'",
        "one of drift, live_quality, new_data, schedule, person, erasure",
    ),
    (changed(evidence={}), NO_FIT, "field 'evidence'", "fields drift"),
    (changed(reason="live_quality"), NO_FIT, "field 'evidence'", "fields live, evaluated"),
    (changed(override="I want to"), NO_FIT, "field 'reason'", "person"),
    (
        changed(requested_at="2026-02-30T00:00:00Z"),
        NO_FIT,
        "field 'requested_at'",
        "a moment that there is",
    ),
    (
        changed(requested_at="0001-01-01T00:00:00+01:00"),
        NO_FIT,
        "field 'requested_at'",
        "a moment that there is",
    ),
    (
        changed(parameters={"x": "y" * MAXIMUM_BYTES}),
        "The message is too large.",
        "",
        "at most 65536 bytes",
    ),
]


@pytest.mark.parametrize(("body", "what", "where", "expected"), POISON)
def test_poison(body: bytes, what: str, where: str, expected: str) -> None:
    with pytest.raises(PoisonMessage) as caught:
        parse_request(body)
    assert (caught.value.what, caught.value.where, caught.value.expected) == (what, where, expected)
    assert "Ada" not in str(caught.value)


def test_poison_is_told_as_a_person_needs_it() -> None:
    body = json.dumps({**EXAMPLES[2], "pipeline": "no name; Ada Lovelace"}).encode()
    with pytest.raises(PoisonMessage) as caught:
        parse_request(body)
    assert str(caught.value) == (
        "The message does not fit its schema.\n"
        "  where:    field 'pipeline'\n"
        "  expected: pattern: ^[A-Za-z_][A-Za-z0-9_]{0,199}$\n"
        f"  next:     {SCHEMA} has the schema"
    )


def test_what_would_be_poison_is_not_sent() -> None:
    with pytest.raises(PoisonMessage, match="does not fit its schema"):
        new_request("learner_outcome", "live_quality", "monitor").to_bytes()


def test_the_same_poison_has_the_same_name() -> None:
    assert poison_id(b"x") == poison_id(b"x") != poison_id(b"y")
    assert len(poison_id(b"x")) <= 64
