"""Canary beside stable: what is compared, how much is tolerated, and when it is enough.

Three signals are watched: failed requests, slow ones, and scores that lie higher or lower. What
counts as slow or high are quantiles of the stable version's first answers, which are then not used
again, so that the thresholds were fixed before what they judge. A retrained model is meant to
differ a little, and a version that was just loaded to be a little slower: each signal tolerates an
odds ratio. The chance to stop a harmless canary, ``alpha``, is shared among the signals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.canary.odds import Table, log_evidence

BURN_IN = 100
"""Answers of the stable version from which the thresholds are read."""

SLOW, HIGH = (0.5, 0.9), (0.25, 0.5, 0.75)
"""The quantiles of the stable version that latencies and scores are held against."""

ERRORS, LATENCY, SCORES = "errors", "latency", "scores"
SIGNALS = (ERRORS, LATENCY, SCORES)


@dataclass(frozen=True)
class Tolerance:
    """How much worse a canary may be and still count as harmless.

    Args:
        alpha: The chance, over all looks, that a harmless canary is stopped.
        errors: Odds ratio of a failed request.
        latency: Odds ratio of a slow answer.
        scores: Odds ratio of a score that is higher, or lower, than a quartile of stable's.
    """

    alpha: float = 0.01
    errors: float = 1.5
    latency: float = 2.0
    scores: float = 1.5


@dataclass(frozen=True)
class Sample:
    """What came of one version's requests since the last look.

    Args:
        answered: Requests that were answered.
        failed: Requests that were not.
        latencies: How many answers took longer than the bound before and no longer than this one,
            by upper bound; any unit, the same for both versions.
        scores: Scores that were answered, each subject's first.
    """

    answered: int = 0
    failed: int = 0
    latencies: Mapping[float, int] = field(default_factory=dict)
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Totals:
    """What was compared so far, for people and for the journal."""

    requests: int = 0
    errors: int = 0
    timed: int = 0
    slow: int = 0
    scores: int = 0
    score_sum: float = 0.0

    def add(self, sample: Sample, slow: int) -> Totals:
        """Add a sample, of which so many answers were slow."""
        return Totals(
            self.requests + sample.answered + sample.failed,
            self.errors + sample.failed,
            self.timed + sum(sample.latencies.values()),
            self.slow + slow,
            self.scores + len(sample.scores),
            self.score_sum + float(sum(sample.scores)),
        )

    def figures(self) -> dict[str, Any]:
        """The shares and means, rounded for reading."""
        return {
            "requests": self.requests,
            "error_share": _share(self.errors, self.requests),
            "slow_share": _share(self.slow, self.timed),
            "mean_score": _share(self.score_sum, self.scores),
        }


@dataclass(frozen=True)
class Comparison:
    """All looks so far. :meth:`add` gives the next one.

    Args:
        tolerance: How much is tolerated.
        evidence: By signal: logarithms of e-values, ``[parts, alternatives]``.
        burnt: The stable version's first answers, until there are enough.
        slow: The bounds above which an answer is slow, the lowest first; None at first.
        high: The quartiles of stable's scores; None at first.
        stable: What the stable version's callers got.
        canary: What the canary's callers got.
    """

    tolerance: Tolerance = Tolerance()
    evidence: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    burnt: Sample = Sample()
    slow: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    stable: Totals = Totals()
    canary: Totals = Totals()

    def add(self, stable: Sample, canary: Sample) -> Comparison:
        """Take in what came of the requests since the last look.

        Args:
            stable: The stable version's.
            canary: The canary's.
        """
        tables: dict[str, list[Table]] = {
            ERRORS: [
                Table(
                    stable.answered + stable.failed,
                    stable.failed,
                    canary.answered + canary.failed,
                    canary.failed,
                )
            ]
        }
        burnt, slow, high = self.burnt, self.slow, self.high
        if slow is None:
            burnt = dataclasses.replace(burnt, latencies=_sum(burnt.latencies, stable.latencies))
            slow = _bounds(burnt.latencies)
        else:
            pairs = [(_above(stable, bound), _above(canary, bound)) for bound in slow]
            timed = sum(stable.latencies.values()), sum(canary.latencies.values())
            tables[LATENCY] = [Table(timed[0], one, timed[1], other) for one, other in pairs]
        if high is None:
            burnt = dataclasses.replace(burnt, scores=(*burnt.scores, *stable.scores))
            high = _quartiles(burnt.scores)
        else:
            tables[SCORES] = _score_tables(stable.scores, canary.scores, high)
        evidence = dict(self.evidence)
        for signal, parts in tables.items():
            tolerated = getattr(self.tolerance, signal)
            added = np.stack([log_evidence(table, tolerated) for table in parts])
            evidence[signal] = evidence.get(signal, 0.0) + added
        last = (self.slow or (np.inf,))[-1]
        return dataclasses.replace(
            self,
            evidence=evidence,
            burnt=burnt,
            slow=slow,
            high=high,
            stable=self.stable.add(stable, _above(stable, last)),
            canary=self.canary.add(canary, _above(canary, last)),
        )

    def log_e_value(self, signal: str) -> float:
        """The logarithm of a signal's test martingale: an average over parts and alternatives.

        Args:
            signal: One of :data:`SIGNALS`.
        """
        logs = self.evidence.get(signal)
        if logs is None:
            return 0.0
        peak = float(logs.max())
        return peak + float(np.log(np.exp(logs - peak).mean()))

    @property
    def needed(self) -> float:
        """The logarithm of the e-value at which a signal shows harm."""
        return float(np.log(len(SIGNALS) / self.tolerance.alpha))

    @property
    def harm(self) -> tuple[str, ...]:
        """Why the canary does harm, a sentence for each signal that shows it; else empty."""
        return tuple(
            self._sentence(signal) for signal in SIGNALS if self.log_e_value(signal) >= self.needed
        )

    def figures(self) -> dict[str, Any]:
        """Everything that a verdict rests on, as JSON."""
        return {
            "stable": self.stable.figures(),
            "canary": self.canary.figures(),
            "log_e_values": {one: round(self.log_e_value(one), 3) for one in SIGNALS},
            "log_e_value_needed": round(self.needed, 3),
            "tolerance": dataclasses.asdict(self.tolerance),
        }

    def _sentence(self, signal: str) -> str:
        name, what = {
            ERRORS: ("error_share", "fail"),
            LATENCY: ("slow_share", "are slow"),
            SCORES: ("mean_score", ""),
        }[signal]
        stable, canary = self.stable.figures()[name], self.canary.figures()[name]
        if signal == SCORES:
            return f"The canary's mean score is {canary:.3f}, stable's is {stable:.3f}."
        return f"{canary:.2%} of the canary's requests {what}, {stable:.2%} of stable's."


def _score_tables(
    stable: tuple[float, ...], canary: tuple[float, ...], high: tuple[float, ...]
) -> list[Table]:
    """Count scores above each quartile, and at or below it: a shift may go either way."""
    one, other = np.array(stable), np.array(canary)
    tables = []
    for bound in high:
        above = int((one > bound).sum()), int((other > bound).sum())
        tables.append(Table(len(one), above[0], len(other), above[1]))
        tables.append(Table(len(one), len(one) - above[0], len(other), len(other) - above[1]))
    return tables


def _sum(one: Mapping[float, int], other: Mapping[float, int]) -> dict[float, int]:
    return {bound: one.get(bound, 0) + other.get(bound, 0) for bound in {*one, *other}}


def _above(sample: Sample, bound: float) -> int:
    return sum(count for upper, count in sample.latencies.items() if upper > bound)


def _bounds(latencies: Mapping[float, int]) -> tuple[float, ...] | None:
    """The buckets' bounds at the quantiles of the stable version's first answers."""
    total = sum(latencies.values())
    if total < BURN_IN:
        return None
    uppers = sorted(latencies)
    shares = np.cumsum([latencies[upper] for upper in uppers]) / total
    return tuple(uppers[int(np.searchsorted(shares, quantile))] for quantile in SLOW)


def _quartiles(scores: tuple[float, ...]) -> tuple[float, ...] | None:
    if len(scores) < BURN_IN:
        return None
    return tuple(float(np.quantile(scores, quantile)) for quantile in HIGH)


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
