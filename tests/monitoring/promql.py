"""The metrics and labels that an expression uses, as far as our expressions go."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STRING = re.compile(r'"[^"]*"')
_CLAUSE = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"(?<![\w:])([a-zA-Z_:][\w:]*)(?!\w|:|\s*\()\s*(?:\{([^}]*)\})?")
_RANGE = re.compile(r"\[[^\]]*\]")
_WORDS = frozenset({"and", "or", "unless", "group_left"})


@dataclass(frozen=True)
class Uses:
    """What an expression uses.

    Args:
        metrics: The labels that each metric is selected by.
        labels: The labels that are grouped or matched by.
    """

    metrics: dict[str, frozenset[str]]
    labels: frozenset[str]


def uses(expression: str) -> Uses:
    """Find what an expression uses.

    Example:
        >>> found = uses('sum by (a) (rate(m_total{b="x"}[5m])) / on (c) n > 1e6')
        >>> sorted(found.metrics), sorted(found.metrics["m_total"]), sorted(found.labels)
        (['m_total', 'n'], ['b'], ['a', 'c'])
    """
    text = _RANGE.sub("", _STRING.sub('""', expression))
    labels = {name for clause in _CLAUSE.findall(text) for name in re.findall(r"\w+", clause)}
    metrics: dict[str, frozenset[str]] = {}
    for name, matchers in _SELECTOR.findall(_CLAUSE.sub("", text)):
        if name not in _WORDS:
            names = frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            metrics[name] = metrics.get(name, frozenset()) | names
    return Uses(metrics, frozenset(labels))
