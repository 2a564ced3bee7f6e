"""Evidence that something happens more often to the canary's callers, in odds, than is tolerated.

Of ``n_s`` requests to the stable version and ``n_c`` to the canary, between two looks, ``m`` met
with an event, ``k`` of them at the canary. Given the totals, ``k`` follows Fisher's noncentral
hypergeometric distribution, whose one parameter is the odds ratio: how often events come at all,
and whether that changes with the hour, does not matter. The likelihood ratio of an odds ratio above
the tolerated one to the tolerated one is an e-value: its expectation is at most 1 for every odds
ratio up to the tolerated one, because the ratio rises with ``k`` and ``k`` with the odds. For a
canary that changes nothing this needs no more than that chance decides who is sent to it. Products
over looks, and averages over the odds ratios that are tried, keep the property (Turner, Ly &
Grünwald: Generic E-variables for exact sequential k-sample tests that allow for optional stopping,
Journal of Statistical Planning and Inference 230, 2024).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

TRIED = np.array([1.5, 2.0, 4.0, 8.0, 16.0])
"""How many times the tolerated odds ratio the alternatives are, each with equal weight."""


@dataclass(frozen=True)
class Table:
    """What came of the requests between two looks.

    Args:
        stable: Requests to the stable version.
        stable_events: How many of them met with the event.
        canary: Requests to the canary.
        canary_events: How many of them met with the event.
    """

    stable: int
    stable_events: int
    canary: int
    canary_events: int


def log_evidence(table: Table, tolerated: float) -> npt.NDArray[Any]:
    """Weigh a table.

    Args:
        table: The requests between two looks.
        tolerated: The odds ratio up to which the canary is harmless, 1 or more.

    Returns:
        The logarithm of the e-value for each of :data:`TRIED`; zeros where there is nothing to
        compare.

    Example:
        >>> bool((log_evidence(Table(900, 9, 100, 1), 1.0) <= 0).all())
        True
        >>> bool(log_evidence(Table(900, 9, 100, 20), 1.0).max() > 10)
        True
    """
    events = table.stable_events + table.canary_events
    lowest, highest = max(0, events - table.stable), min(events, table.canary)
    counts = np.arange(lowest, highest + 1)
    weights = _log_choose(table.canary, counts) + _log_choose(table.stable, events - counts)
    log_odds = np.log(tolerated * np.array([1.0, *TRIED]))
    terms = weights[None, :] + log_odds[:, None] * counts[None, :]
    peaks = terms.max(axis=1)
    totals = peaks + np.log(np.exp(terms - peaks[:, None]).sum(axis=1))
    likelihoods = log_odds * table.canary_events - totals
    evidence: npt.NDArray[Any] = likelihoods[1:] - likelihoods[0]
    return evidence


def _log_choose(total: int, chosen: npt.NDArray[Any]) -> npt.NDArray[Any]:
    table = _log_factorials(1 << max(10, total.bit_length()))
    result: npt.NDArray[Any] = table[total] - table[chosen] - table[total - chosen]
    return result


@functools.lru_cache(maxsize=4)
def _log_factorials(size: int) -> npt.NDArray[Any]:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size + 1)))])
