"""What is sealed says nothing without its key, and is opened as it was sealed or not at all."""

from __future__ import annotations

import functools
import hmac
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from learnloop.errors import LearnLoopError, UsageError
from messaging.events.keys import LearnerKey, LearnerKeys
from messaging.events.master_keys import MasterKey
from messaging.events.schema import explain
from messaging.events.sealing import Envelope, open_events, read_envelope, seal
from tests.messaging.events.keys import open_keys
from tests.messaging.events.samples import event

SCHEMAS = Path(__file__).parents[3] / "messaging" / "schemas"
SCHEMA = json.loads((SCHEMAS / "sealed_event.v1.json").read_text())
ERASED = "erased"
MALFORMED = "It is sealed otherwise than sealed_event.v1 says."
CHANGED = "It is sealed, and is not what was sealed."
UNKNOWN = "It is sealed under a key that is not known."
KEY = LearnerKey("ab" * 16, AESGCM(b"k" * 32))
CAME = seal(KEY, json.dumps(event(1)).encode())


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LearnerKeys:
    return open_keys(tmp_path_factory.mktemp("keys"))


@given(st.binary(), st.sampled_from(["1", "2", "naïve"]))
def test_what_was_sealed_comes_back(keys: LearnerKeys, body: bytes, learner: str) -> None:
    message = seal(keys.to_seal([learner])[learner], body)
    jsonschema.validate(json.loads(message), SCHEMA)
    assert open_events([message], keys).values == [body]
    assert seal(keys.to_seal([learner])[learner], body) != message, "the nonce is drawn"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_never_taken_for_what_was_sealed(
    keys: LearnerKeys, place: int, change: int
) -> None:
    message = bytearray(seal(keys.to_seal(["1"])["1"], b"told!"))
    message[place % len(message)] ^= change
    changed = bytes(message)
    opened = open_events([changed], keys, accept_gap=True)
    if opened.values == [b"told!"]:  # another space between two fields
        assert json.loads(changed) == json.loads(changed.replace(b"\t", b" "))
    elif opened.values:  # it looks like no sealed event any more, and is no event either
        assert opened.values == [changed]
        assert explain(changed)


def test_a_body_is_bound_to_its_key(keys: LearnerKeys) -> None:
    one, other = (json.loads(seal(key, b"told")) for key in keys.to_seal(["1", "2"]).values())
    assert one["key"] != other["key"]
    mixed = json.dumps({**one, "key": other["key"]}).encode()
    assert open_events([mixed], keys).refused == {0: CHANGED}


def test_the_golden_example_is_opened_by_what_the_schema_says() -> None:
    """As another language would do it."""
    sealed = (SCHEMAS / "examples" / "sealed_event.v1.json").read_bytes()
    told = (SCHEMAS / "examples" / "learner_event.v1.json").read_bytes().strip()
    assert explain(told) == ""
    jsonschema.validate(json.loads(sealed), SCHEMA)
    envelope = read_envelope(sealed)
    assert envelope is not None
    key, nonce, body = bytes(range(32, 64)), envelope.body[:12], envelope.body[12:]
    bound = b"sealed_event.v1\0" + envelope.reference.encode()
    assert AESGCM(key).decrypt(nonce, body, bound) == told
    naming = hmac.digest(bytes(range(32)), b"learnloop learner events\0reference", "sha256")
    reference = hmac.digest(naming, json.loads(told)["learner"].encode(), "sha256")[:16].hex()
    assert envelope.reference == reference == MasterKey(bytes(range(32))).reference("1207")
    assert seal(LearnerKey(reference, AESGCM(key)), told, nonce) == sealed.strip()


WRONG: dict[str, dict[str, Any]] = {
    "another version": {"version": 2},
    "a key of another form": {"key": "AB" * 16},
    "a key that is no text": {"key": 7},
    "a body that is no text": {"sealed": [1]},
    "a body that is no base64": {"sealed": "?" * 40},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_sealed_otherwise(name: str) -> None:
    message = json.dumps({**json.loads(CAME), **WRONG[name]}).encode()
    with pytest.raises(ValueError, match=r"^"):
        read_envelope(message)
    assert name == "a body that is no base64" or list(
        jsonschema.Draft202012Validator(SCHEMA).iter_errors(json.loads(message))
    )


@pytest.mark.parametrize(
    "message",
    [b"", b"[]", b'{"sealed"', b'["sealed"]', json.dumps(event(1, skill="sealed")).encode()],
)
def test_what_is_not_sealed(message: bytes) -> None:
    assert read_envelope(message) is None
    assert open_events([message], None).values == [message]


def test_an_envelope_may_be_written_otherwise() -> None:
    document = json.loads(CAME)
    again = json.dumps(dict(reversed(document.items())), indent=1).encode()
    assert read_envelope(again) == read_envelope(CAME) == Envelope(KEY.reference, _body(document))


def _body(document: dict[str, Any]) -> bytes:
    import base64

    return base64.b64decode(document["sealed"])


@functools.cache
def sealed(keys: LearnerKeys, learner: str) -> bytes:
    return seal(keys.to_seal([learner])[learner], f"of {learner}".encode())


@given(st.lists(st.sampled_from(["plain", "1", "2", ERASED, "unknown", "wrong", "torn"])))
def test_every_message_of_a_block_keeps_its_place(tmp_path: Path, block: list[str]) -> None:
    keys = _with_an_erased_one(str(tmp_path))
    messages = {
        "plain": b'{"plain": 1}',
        "1": sealed(keys, "1"),
        "2": sealed(keys, "2"),
        ERASED: keys.sealed_before,  # type: ignore[attr-defined]
        "unknown": CAME,
        "wrong": json.dumps({**json.loads(CAME), "version": 2}).encode(),
        "torn": json.dumps({**json.loads(sealed(keys, "1")), "sealed": "QUJD"}).encode(),
    }
    opened = open_events([messages[name] for name in block], keys, accept_gap=True)
    said = {"plain": messages["plain"], "1": b"of 1", "2": b"of 2"}
    reasons = {"unknown": UNKNOWN, "wrong": MALFORMED, "torn": CHANGED}
    there = [(place, said[name]) for place, name in enumerate(block) if name in said]
    assert list(zip(opened.places.tolist(), opened.values, strict=True)) == there
    assert opened.refused == {n: reasons[name] for n, name in enumerate(block) if name in reasons}
    assert list(opened.refused) == sorted(opened.refused)
    assert opened.erased == block.count(ERASED)


@functools.cache
def _with_an_erased_one(folder: str) -> LearnerKeys:
    keys = open_keys(Path(folder))
    keys.sealed_before = sealed(keys, ERASED)  # type: ignore[attr-defined]
    keys.destroy(ERASED)
    return keys


def test_without_the_master_key_nothing_is_given_up() -> None:
    with pytest.raises(UsageError) as error:
        open_events([b"{}", CAME], None, accept_gap=True)
    assert str(error.value) == (
        "The events are sealed, and there is no master key to open them with.\n"
        "  where:    the environment variable LEARNLOOP_EVENT_KEY\n"
        "  expected: the key that whoever tells the events has\n"
        "  received: nothing\n"
        "  next:     set LEARNLOOP_EVENT_KEY, then collect again: nothing is lost"
    )


def test_keys_that_are_elsewhere_are_asked_for(keys: LearnerKeys) -> None:
    with pytest.raises(LearnLoopError) as error:
        open_events([CAME, seal(keys.to_seal(["1"])["1"], b"told")], keys)
    assert str(error.value) == (
        "Events are sealed under keys that are not known here.\n"
        "  where:    the learners' keys\n"
        "  expected: the database that whoever tells the events uses\n"
        "  received: 1 unknown keys of 2\n"
        "  next:     set LEARNLOOP_LEDGER or LEARNLOOP_HOME as there, or restore the keys; where "
        "they are lost: learnloop events collect --accept-gap"
    )
