"""The one family of errors: each tells what, where, expected, received, and what to type next.

The exit code of the command line is a property of the error's class, so that a script can tell a
refused gate (1) from bad usage or input (2) and from a fault (3).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import ClassVar


class LearnLoopError(Exception):
    """A fault: something LearnLoop needed did not work.

    Args:
        what: What happened, in one sentence.
        where: The file, step, column or server concerned.
        expected: What would have been right.
        received: What was found instead.
        next: The command to type, or the thing to do, next.

    Example:
        >>> print(LearnLoopError("The store is full.", where="/data", next="learnloop gc"))
        The store is full.
          where:    /data
          next:     learnloop gc
    """

    exit_code: ClassVar[int] = 3

    def __init__(
        self,
        what: str,
        *,
        where: object = "",
        expected: object = "",
        received: object = "",
        next: str = "",
    ) -> None:
        self.what = what
        self.where = str(where)
        self.expected = str(expected)
        self.received = str(received)
        self.next = next
        super().__init__(what)

    def __str__(self) -> str:
        details = {
            "where": self.where,
            "expected": self.expected,
            "received": self.received,
            "next": self.next,
        }
        lines = [f"  {name + ':':<10}{value}" for name, value in details.items() if value]
        return "\n".join([self.what, *lines])


class UsageError(LearnLoopError):
    """Bad usage or bad input: the person who called can mend it."""

    exit_code = 2


class GraphError(UsageError):
    """A pipeline that cannot run, found while its graph is built, before a byte is read."""


class CorruptArtifact(LearnLoopError):
    """Stored bytes are not the ones that were published."""


class RunCancelled(LearnLoopError):
    """A person asked for the run to stop."""

    def __init__(self, what: str = "The run was cancelled.", **details: str) -> None:
        super().__init__(what, **details)


class GateRefused(LearnLoopError):
    """A gate judged the data or the model not good enough; the run ends ``refused``.

    Args:
        reasons: Why, one sentence each, with the figures.
        where: The gate's subject, for example the split or the slice.
        next: The command to type next.

    Example:
        >>> print(GateRefused(["AUC is 0.61, at least 0.70 is required."], where="test"))
        Refused: AUC is 0.61, at least 0.70 is required.
          where:    test
    """

    exit_code = 1

    def __init__(self, reasons: Sequence[str], *, where: object = "", next: str = "") -> None:
        self.reasons = tuple(reasons)
        super().__init__("Refused: " + " ".join(self.reasons), where=where, next=next)


def closest(name: str, known: Iterable[str]) -> str:
    """Say which known name a person may have meant.

    Args:
        name: What was typed.
        known: The names that exist.

    Returns:
        ``"did you mean 'x'?"`` for a close match, else the list of known names.

    Example:
        >>> closest("learner_outcom", ["learner_outcome", "knowledge_tracing"])
        "did you mean 'learner_outcome'?"
    """
    names = sorted(known)
    matches = difflib.get_close_matches(name, names, n=1)
    if matches:
        return f"did you mean '{matches[0]}'?"
    return "one of " + ", ".join(names) if names else "none exists yet"
