"""Options that are given as NAME=VALUE and may be repeated."""

from __future__ import annotations

from collections.abc import Sequence

from learnloop.errors import UsageError


def read_pairs(given: Sequence[str] | None, option: str, example: str) -> dict[str, str]:
    """Read the values of an option by their names.

    Args:
        given: What was typed; None for nothing.
        option: The option, for the error.
        example: A pair that would be right.

    Raises:
        UsageError: One is no pair.
    """
    pairs = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(
                f"{option} takes a name and a value.",
                expected=f"{option} {example}",
                received=repr(text),
            )
        pairs[name.strip()] = value
    return pairs
