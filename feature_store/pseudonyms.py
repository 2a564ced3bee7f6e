"""Keyed pseudonyms: a learner is told apart from others, and cannot be found by guessing.

A pseudonym is the first half of an HMAC-SHA256 over the name of the identifier and its value. Who
has the key can make it again; who has not cannot try all learners, as with a plain digest. It
begins with the name of its key, so that keys rotate: a new key is put before the old one, new
pseudonyms are made with it, and a person is looked for under all of them. A key that is taken away
leaves its pseudonyms without any way back.

Keys come from the environment alone: ``LEARNLOOP_PSEUDONYM_KEYS`` holds ``name:secret`` for each,
parted by commas, the one in use first.
"""

from __future__ import annotations

import hmac
import os
import re
from dataclasses import dataclass, field

from learnloop.errors import UsageError

KEYS_VARIABLE = "LEARNLOOP_PSEUDONYM_KEYS"
PSEUDONYM_BYTES = 16
LEAST_SECRET = 32
"""Characters of the shortest secret taken."""

_NEXT = f'export {KEYS_VARIABLE}="$(date +%Y):$(openssl rand -hex 32)"'
_KEY_NAME = re.compile(r"[a-z0-9]{1,16}")


@dataclass(frozen=True)
class PseudonymKey:
    """One key.

    Args:
        name: Its name, which pseudonyms carry: small letters and digits.
        secret: The secret.
    """

    name: str
    secret: bytes = field(repr=False)

    def digest(self, identifier: str, value: bytes) -> bytes:
        """Make the bare pseudonym of a value.

        Args:
            identifier: What is identified, for example ``learner``: the same value of another
                identifier has another pseudonym.
            value: The value as text, encoded.

        Returns:
            :data:`PSEUDONYM_BYTES` bytes.
        """
        message = identifier.encode() + b"\0" + value
        return hmac.digest(self.secret, message, "sha256")[:PSEUDONYM_BYTES]

    def pseudonym(self, identifier: str, value: str | int) -> str:
        """Make a pseudonym that names its key.

        Args:
            identifier: What is identified.
            value: The value.

        Returns:
            ``<name of the key>.<32 hexadecimal digits>``.
        """
        return f"{self.name}.{self.digest(identifier, str(value).encode()).hex()}"


@dataclass(frozen=True)
class Keyring:
    """The keys there are, the one in use first.

    Args:
        keys: At least one.

    Example:
        >>> old, new = PseudonymKey("2025", b"o" * 32), PseudonymKey("2026", b"n" * 32)
        >>> ring = Keyring((new, old))
        >>> ring.pseudonym("learner", 7).partition(".")[0]
        '2026'
        >>> ring.every_pseudonym("learner", 7)[1] == old.pseudonym("learner", 7)
        True
    """

    keys: tuple[PseudonymKey, ...]

    @property
    def current(self) -> PseudonymKey:
        """The key that new pseudonyms are made with."""
        return self.keys[0]

    def pseudonym(self, identifier: str, value: str | int) -> str:
        """Make a pseudonym with the key in use.

        Args:
            identifier: What is identified.
            value: The value.
        """
        return self.current.pseudonym(identifier, value)

    def every_pseudonym(self, identifier: str, value: str | int) -> list[str]:
        """Make the pseudonyms under all keys: what to look for to find or erase somebody.

        Args:
            identifier: What is identified.
            value: The value.
        """
        return [key.pseudonym(identifier, value) for key in self.keys]


def load_keyring() -> Keyring:
    """Read the keys from the environment.

    Returns:
        The keys, the one in use first.

    Raises:
        UsageError: There is none, or one is not ``name:secret``, too short, or there twice.
    """
    found = load_keyring_if_any()
    if found is None:
        raise UsageError(
            "There is no key to make pseudonyms with.",
            where=f"the environment variable {KEYS_VARIABLE}",
            expected="name:secret, the one in use first",
            received="nothing",
            next=_NEXT,
        )
    return found


def load_keyring_if_any() -> Keyring | None:
    """Read the keys from the environment, where there are some.

    Returns:
        The keys; None if the variable is not set or empty.

    Raises:
        UsageError: One is not ``name:secret``, too short, or there twice.
    """
    text = os.environ.get(KEYS_VARIABLE, "")
    if not text:
        return None
    keys: dict[str, PseudonymKey] = {}
    for number, entry in enumerate(text.split(","), start=1):
        name, _, secret = entry.strip().partition(":")
        if not _KEY_NAME.fullmatch(name) or len(secret) < LEAST_SECRET or name in keys:
            # Never with what was received: it may be a secret.
            raise UsageError(
                "A key for pseudonyms does not fit.",
                where=f"the environment variable {KEYS_VARIABLE}, entry {number}",
                expected="name:secret; a name of its own of small letters and digits, and a secret"
                f" of at least {LEAST_SECRET} characters",
                received="a name that is there already" if name in keys else "something else",
                next=_NEXT,
            )
        keys[name] = PseudonymKey(name, secret.encode())
    return Keyring(tuple(keys.values()))
