"""Messages to columns: every message is an event or is refused with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.events.parsing import parse_events
from messaging.events.schema import KINDS, event_schema, explain
from tests.messaging.events.samples import OF_KIND, event


def encoded(*events: dict[str, Any]) -> list[bytes]:
    return [json.dumps(one).encode() for one in events]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_its_values(kind: str) -> None:
    parsed = parse_events(encoded(event(7, kind)))
    assert parsed.refused == {}
    row = parsed.events.to_pylist()[0]
    assert row["at"].isoformat() == "2026-03-02T09:30:00+00:00"
    assert {name: row[name] for name in OF_KIND[kind]} == OF_KIND[kind]
    assert (row["sequence"], row["source"], row["learner"]) == (7, "platform", "p-1")


REFUSALS = {
    "not JSON": (b"{", "It is not JSON in UTF-8."),
    "not UTF-8": (b'{"version": "\xff"}', "It is not JSON in UTF-8."),
    "empty": (b"", "It is not JSON in UTF-8."),
    "a list": (b"[]", """the message breaks the rule 'type': "object"."""),
    "other version": (event(version=2), "version breaks the rule 'const': 1."),
    "no learner": (
        event(learner=...),
        'the message breaks the rule \'required\': ["version", "source", "sequence", "kind", '
        '"at", "learner"].',
    ),
    "empty learner": (event(learner=""), "learner breaks the rule 'minLength': 1."),
    "unknown kind": (
        {**event(), "kind": "attemt"},
        'kind breaks the rule \'enum\': ["assessment", "attempt", "click", "enrolment"].',
    ),
    "number as text": (event(sequence="1"), "sequence breaks the rule 'type': \"integer\"."),
    "sequence 0": (event(0), "sequence breaks the rule 'minimum': 1."),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_poison_is_told_from_its_neighbours(name: str) -> None:
    poison, reason = REFUSALS[name]
    value = poison if isinstance(poison, bytes) else json.dumps(poison).encode()
    values = encoded(*(event(number) for number in range(1, 6)))
    values.insert(3, value)
    parsed = parse_events(values)
    assert parsed.refused == {3: reason}
    assert parsed.events["sequence"].to_pylist() == [1, 2, 3, 4, 5]
    assert parsed.positions.tolist() == [0, 1, 2, 4, 5]


def test_a_reason_never_repeats_what_the_message_holds() -> None:
    secret = event(learner={"name": "Ada Lovelace"})
    assert "Ada" not in explain(json.dumps(secret).encode())


def test_a_message_over_several_lines_shifts_no_other() -> None:
    values = encoded(event(1), event(2))
    values[1:1] = [b"", json.dumps(event(9), indent=1).encode(), b"{}\n{}"]
    parsed = parse_events(values)
    assert parsed.events["sequence"].to_pylist() == [1, 9, 2]
    assert sorted(parsed.refused) == [1, 3]
    assert parsed.positions.tolist() == [0, 2, 4]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.sampled_from(
        [*KINDS, "withdrawn", "2026-03-02", "2026-03-02T09:30:00", "2026-13-02T09:30:00Z"]
    ),
    st.lists(st.integers(), max_size=2),
)
MUTATED = st.builds(
    lambda kind, changes, left_out: {
        name: value for name, value in {**event(1, kind), **changes}.items() if name not in left_out
    },
    st.sampled_from(list(KINDS)),
    st.dictionaries(
        st.sampled_from(
            [*event_schema()["properties"], "correct", "score", "clicks", "action", "item", "more"]
        ),
        VALUES,
        max_size=2,
    ),
    st.sets(st.sampled_from(["learner", "skill", "item", "score"]), max_size=1),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(MUTATED, min_size=1, max_size=8))
def test_what_is_refused_breaks_the_schema(events: list[dict[str, Any]]) -> None:
    """The columnar rules let nothing through that the published JSON Schema refuses."""
    values = encoded(*events)
    parsed = parse_events(values)
    assert {*parsed.refused, *parsed.positions.tolist()} == set(range(len(values)))
    assert len(parsed.positions) == parsed.events.num_rows
    for place in parsed.positions.tolist():
        assert explain(values[place]) == "", values[place]
    for place, reason in parsed.refused.items():
        fault = explain(values[place])
        assert reason == fault or (not fault and reason.startswith("A field")), values[place]
