"""Subjects: how a prediction is tied to a learner without naming one.

A consumer turns its learner's id into a pseudonym (:mod:`feature_store.pseudonyms`) before anything
leaves the process. Who has the key can do the same again and so join an outcome to a prediction;
who has not cannot tell whose prediction it was, nor find it by trying ids.
"""

from __future__ import annotations

import re

from feature_store.pseudonyms import Keyring, load_keyring

IDENTIFIER = "learner"

SUBJECT_HEADER = "x-learnloop-subject"
"""Header or metadata key: a pseudonym, or one a row, parted by commas."""

LOG_HEADER = "x-learnloop-log"
"""Header or metadata key; with the value ``digest`` no raw features are logged."""

DIGEST_ONLY = "digest"

_PSEUDONYM = re.compile(r"[a-z0-9]{1,16}\.[0-9a-f]{32}")


def is_pseudonym(text: str) -> bool:
    """Tell whether a text has the form of a pseudonym, which no raw id has.

    Args:
        text: What was given as a subject.

    Example:
        >>> is_pseudonym("2026.0123456789abcdef0123456789abcdef"), is_pseudonym("28400")
        (True, False)
    """
    return _PSEUDONYM.fullmatch(text) is not None


def pseudonym(learner: str | int, keyring: Keyring | None = None) -> str:
    """Turn a learner's id into a pseudonym.

    Args:
        learner: The id, as the platform knows it.
        keyring: The keys; those in ``LEARNLOOP_PSEUDONYM_KEYS`` when None.

    Returns:
        ``<name of the key>.<32 hexadecimal digits>``.

    Raises:
        UsageError: The environment holds no key.
    """
    return (keyring or load_keyring()).pseudonym(IDENTIFIER, learner)
