"""Sealed events: what Kafka keeps of an event whose learner has a key.

A sealed event is ``messaging/schemas/sealed_event.v1.json``: the reference of the learner's key,
and the event under AES-256-GCM with a random nonce, bound to that reference. Nothing else of it
can be read without the key, and nothing at all once the key is destroyed.
"""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import orjson
from cryptography.exceptions import InvalidTag
from numpy.typing import NDArray

from learnloop.errors import LearnLoopError, UsageError
from messaging.events.keys import LearnerKey, LearnerKeys
from messaging.events.master_keys import NONCE_BYTES, VARIABLE

VERSION = 1
FIELD = "sealed"
_MARK = f'"{FIELD}"'.encode()
_REFERENCE = re.compile(r"[0-9a-f]{32}")


class Envelope(NamedTuple):
    """A sealed event, not opened.

    Args:
        reference: Names the key.
        body: Nonce, ciphertext and tag.
    """

    reference: str
    body: bytes


@dataclass(frozen=True)
class Opened:
    """A block of messages, those that were sealed opened.

    Args:
        values: The messages that there is something to read of, in order.
        places: The place in the block of each, rising.
        refused: Reason by place in the block, for what is sealed and cannot be opened.
        erased: How many messages are of learners whose keys were destroyed.
    """

    values: list[bytes]
    places: NDArray[np.int64]
    refused: dict[int, str]
    erased: int


def seal(key: LearnerKey, event: bytes, nonce: bytes = b"") -> bytes:
    """Seal an event.

    Args:
        key: The learner's.
        event: The event as JSON.
        nonce: :data:`NONCE_BYTES` bytes that were never used with this key; drawn if empty.

    Returns:
        The message for Kafka.
    """
    nonce = nonce or os.urandom(NONCE_BYTES)
    body = nonce + key.cipher.encrypt(nonce, event, _bound_to(key.reference))
    return b'{"version": %d, "key": "%b", "sealed": "%b"}' % (
        VERSION,
        key.reference.encode(),
        binascii.b2a_base64(body, newline=False),
    )


def read_envelope(value: bytes) -> Envelope | None:
    """Read a sealed event without opening it.

    Args:
        value: Any message.

    Returns:
        The sealed event; None for a message that is none.

    Raises:
        ValueError: It is a sealed event, but not as the schema has it.
    """
    if _MARK not in value:
        return None
    try:
        document = orjson.loads(value)
    except ValueError:
        return None
    if not isinstance(document, dict) or FIELD not in document:
        return None
    reference, sealed = document.get("key"), document[FIELD]
    if not isinstance(reference, str) or not isinstance(sealed, str):
        raise ValueError
    if document.get("version") != VERSION or not _REFERENCE.fullmatch(reference):
        raise ValueError
    return Envelope(reference, binascii.a2b_base64(sealed, strict_mode=True))


def open_events(
    values: Sequence[bytes], keys: LearnerKeys | None, *, accept_gap: bool = False
) -> Opened:
    """Open the sealed events of a block; what is not sealed stays as it is.

    Args:
        values: The messages' bodies.
        keys: The learners' keys, refreshed; None where there is no master key.
        accept_gap: Whether events whose key is not known are refused one by one.

    Returns:
        What there is to read.

    Raises:
        UsageError: Events are sealed, and there is no master key.
        LearnLoopError: The key of an event is not among the learners' keys; nothing is lost.
    """
    envelopes: dict[int, Envelope] = {}
    refused: dict[int, str] = {}
    for place, value in enumerate(values):
        try:
            if (envelope := read_envelope(value)) is not None:
                envelopes[place] = envelope
        except ValueError:
            refused[place] = "It is sealed otherwise than sealed_event.v1 says."
    if not envelopes and not refused:
        return Opened(list(values), np.arange(len(values)), {}, 0)
    found = _find_keys(envelopes, keys, is_gap_accepted=accept_gap)
    kept: list[bytes] = []
    places: list[int] = []
    erased = 0
    for place, value in enumerate(values):
        if place in refused:
            continue
        event: bytes = value
        if (envelope := envelopes.get(place)) is not None:
            if envelope.reference not in found:
                refused[place] = "It is sealed under a key that is not known."
                continue
            key = found[envelope.reference]
            if key is None:
                erased += 1
                continue
            try:
                event = _open(key, envelope.body)
            except (InvalidTag, ValueError):
                refused[place] = "It is sealed, and is not what was sealed."
                continue
        kept.append(event)
        places.append(place)
    return Opened(kept, np.array(places, np.int64), dict(sorted(refused.items())), erased)


def _find_keys(
    envelopes: dict[int, Envelope], keys: LearnerKeys | None, *, is_gap_accepted: bool
) -> dict[str, LearnerKey | None]:
    references = {envelope.reference for envelope in envelopes.values()}
    if keys is None:
        raise UsageError(
            "The events are sealed, and there is no master key to open them with.",
            where=f"the environment variable {VARIABLE}",
            expected="the key that whoever tells the events has",
            received="nothing",
            next=f"set {VARIABLE}, then collect again: nothing is lost",
        )
    found = keys.to_open(references)
    unknown = len(references - found.keys())
    if unknown and not is_gap_accepted:
        raise LearnLoopError(
            "Events are sealed under keys that are not known here.",
            where="the learners' keys",
            expected="the database that whoever tells the events uses",
            received=f"{unknown} unknown keys of {len(references)}",
            next="set LEARNLOOP_LEDGER or LEARNLOOP_HOME as there, or restore the keys; where they "
            "are lost: learnloop events collect --accept-gap",
        )
    return found


def _open(key: LearnerKey, body: bytes) -> bytes:
    nonce, sealed = body[:NONCE_BYTES], body[NONCE_BYTES:]
    event: bytes = key.cipher.decrypt(nonce, sealed, _bound_to(key.reference))
    return event


def _bound_to(reference: str) -> bytes:
    return b"sealed_event.v%d\0%b" % (VERSION, reference.encode())
