"""The master key of learner events: wraps the learners' own keys, and names learners in Kafka.

It comes from the environment alone: ``LEARNLOOP_EVENT_KEY`` holds 32 bytes as hexadecimal digits or
base64. A new one is put before the old ones, parted by commas: it wraps the keys made from then on,
and the old ones still open what they wrapped.
"""

from __future__ import annotations

import binascii
import functools
import hmac
import os
import re
from dataclasses import dataclass, field
from typing import Any

from learnloop.errors import UsageError

VARIABLE = "LEARNLOOP_EVENT_KEY"
KEY_BYTES = 32
NONCE_BYTES = 12
REFERENCE_BYTES = 16
NEXT = f'export {VARIABLE}="$(openssl rand -hex {KEY_BYTES})"'


@dataclass(frozen=True)
class MasterKey:
    """One master key.

    Args:
        secret: :data:`KEY_BYTES` bytes.
    """

    secret: bytes = field(repr=False)

    def reference(self, learner: str) -> str:
        """Name a learner's key: who has not the master key can find nobody by trying ids.

        Args:
            learner: The learner's id, as events have it.

        Returns:
            32 hexadecimal digits, always the same for a learner.
        """
        digest = hmac.digest(self._derived("reference"), learner.encode(), "sha256")
        return digest[:REFERENCE_BYTES].hex()

    def wrap(self, reference: str, key: bytes) -> bytes:
        """Encrypt a learner's key.

        Args:
            reference: Its name, to which it is bound.
            key: The key.
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + bytes(self._cipher.encrypt(nonce, key, reference.encode()))

    def unwrap(self, reference: str, wrapped: bytes) -> bytes | None:
        """Decrypt a learner's key.

        Args:
            reference: Its name.
            wrapped: What :meth:`wrap` gave.

        Returns:
            The key; None if another master key wrapped it.
        """
        from cryptography.exceptions import InvalidTag

        nonce, body = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        try:
            return bytes(self._cipher.decrypt(nonce, body, reference.encode()))
        except InvalidTag:
            return None

    @functools.cached_property
    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._derived("wrapping"))

    def _derived(self, use: str) -> bytes:
        """A key for one use alone."""
        return hmac.digest(self.secret, f"learnloop learner events\0{use}".encode(), "sha256")


def load_master_keys() -> tuple[MasterKey, ...]:
    """Read the master keys from the environment.

    Returns:
        The keys, the one in use first; none if the variable is not set or empty.

    Raises:
        UsageError: One is not 32 bytes, as hexadecimal digits or base64.
    """
    text = os.environ.get(VARIABLE, "")
    entries = text.split(",") if text else []
    return tuple(_master_key(number, entry.strip()) for number, entry in enumerate(entries, 1))


def _master_key(number: int, text: str) -> MasterKey:
    try:
        is_hexadecimal = re.fullmatch(r"[0-9a-fA-F]{64}", text)
        secret = bytes.fromhex(text) if is_hexadecimal else binascii.a2b_base64(text)
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        # Never with what was received: it may be most of a secret.
        raise UsageError(
            "The master key of learner events does not fit.",
            where=f"the environment variable {VARIABLE}, entry {number}",
            expected=f"{KEY_BYTES} bytes as {2 * KEY_BYTES} hexadecimal digits or as base64",
            received="something else",
            next=NEXT,
        )
    return MasterKey(secret)
