"""The person whom a command is about, who is named nowhere but on the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from feature_store.people import IDENTIFIER
from feature_store.pseudonyms import Keyring, load_keyring
from learnloop.errors import UsageError


@dataclass(frozen=True)
class Person:
    """A learner.

    Args:
        learner: Their identifier, as the platform knows it.
        keyring: The keys of the pseudonyms.
    """

    learner: str = field(repr=False)
    keyring: Keyring = field(repr=False)

    @property
    def pseudonyms(self) -> list[str]:
        """Their pseudonyms under all keys there are, the one in use first."""
        return self.keyring.every_pseudonym(IDENTIFIER, self.learner)


def open_person(learner: str) -> Person:
    """Take a person from the command line.

    Args:
        learner: Their identifier.

    Raises:
        UsageError: It is empty, or there are no keys to make pseudonyms with.
    """
    if not learner.strip():
        raise UsageError("This names nobody.", where="LEARNER", expected="a learner's identifier")
    return Person(learner.strip(), load_keyring())


def check_reason(reason: str, learner: str) -> None:
    """Refuse a reason that cannot be kept.

    Args:
        reason: Why something is done.
        learner: The person's identifier.

    Raises:
        UsageError: It is empty, or names the person.
    """
    is_named = re.search(rf"(?<!\w){re.escape(learner)}(?!\w)", reason)
    if not reason.strip() or is_named:
        raise UsageError(
            "What is kept needs a reason that does not name the person.",
            where="--reason",
            expected="the number of a request, for example",
            received="a reason that names the person" if is_named else "nothing",
        )
