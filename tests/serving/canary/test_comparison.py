"""The guard on simulated canaries: harmless ones live, harmful ones end soon."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from serving.canary.comparison import SIGNALS, Comparison, Sample, Tolerance
from serving.canary.odds import TRIED, Table, log_evidence

LOOKS, REQUESTS_A_LOOK, WEIGHT = 60, 200, 0.1
BOUNDS = 10 * 1.8 ** np.arange(32)


@dataclass(frozen=True)
class Version:
    """A version as its callers meet it.

    Args:
        error_odds: How many times the odds of an error of the moment.
        milliseconds: The median latency.
        shift: How far its scores lie from the stable version's, in their standard deviations.
    """

    error_odds: float = 1.0
    milliseconds: float = 5.0
    shift: float = 0.0

    def sample(self, random: np.random.Generator, requests: int, error_share: float) -> Sample:
        odds = self.error_odds * error_share / (1 - error_share)
        failed = int(random.binomial(requests, odds / (1 + odds)))
        answered = requests - failed
        micros = 1000 * self.milliseconds * random.lognormal(0.0, 0.5, answered)
        buckets = np.bincount(np.searchsorted(BOUNDS, micros), minlength=len(BOUNDS) + 1)
        uppers = [*BOUNDS.tolist(), math.inf]
        latencies = {upper: int(n) for upper, n in zip(uppers, buckets, strict=True) if n}
        logits = random.normal(self.shift, 1.0, answered)
        return Sample(answered, failed, latencies, tuple((1 / (1 + np.exp(-logits))).tolist()))


def run(
    seed: int,
    canary: Version,
    tolerance: Tolerance = Tolerance(),
    error_share: Callable[[int], float] = lambda look: 0.005,
    looks: int = LOOKS,
) -> tuple[Comparison, bool]:
    """Compare until harm shows; who is sent to the canary is left to chance."""
    random = np.random.default_rng(seed)
    comparison = Comparison(tolerance)
    for look in range(looks):
        to_canary = int(random.binomial(REQUESTS_A_LOOK, WEIGHT))
        share = error_share(look)
        comparison = comparison.add(
            Version().sample(random, REQUESTS_A_LOOK - to_canary, share),
            canary.sample(random, to_canary, share),
        )
        if comparison.harm:
            return comparison, True
    return comparison, False


def most_of(alpha: float, runs: int) -> int:
    """So many false stops, or fewer, come with a probability of over 99.99 % at a rate of alpha."""
    left, count = 1.0, -1
    while left > 1e-4:
        count += 1
        left -= math.comb(runs, count) * alpha**count * (1 - alpha) ** (runs - count)
    return count


def test_a_harmless_canary_is_stopped_no_more_often_than_stated() -> None:
    """Sixty looks each, in calm and while errors come and go for both alike."""

    def storms(look: int) -> float:
        return 0.3 if look % 10 < 2 else 0.002

    stopped = sum(run(seed, Version())[1] for seed in range(100))
    stopped += sum(run(seed, Version(), error_share=storms)[1] for seed in range(100, 200))
    assert stopped <= most_of(0.01, 200)


def test_the_rate_holds_at_the_very_edge_of_what_is_tolerated() -> None:
    """Odds of an error exactly as high as tolerated: the worst canary that counts as harmless."""
    tolerance = Tolerance(alpha=0.3)
    edge = Version(error_odds=tolerance.errors)
    runs = 150
    stopped = sum(
        run(seed, edge, tolerance, error_share=lambda look: 0.1)[1] for seed in range(runs)
    )
    assert stopped <= most_of(tolerance.alpha, runs)


def test_looking_often_would_stop_the_harmless_without_the_guard() -> None:
    """A test made for one look, made at every look: what the martingale is there for."""
    stopped = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        totals = np.zeros(4)
        for _ in range(LOOKS):
            to_canary = int(random.binomial(REQUESTS_A_LOOK, WEIGHT))
            stable = REQUESTS_A_LOOK - to_canary
            totals += [
                stable,
                random.binomial(stable, 0.1),
                to_canary,
                random.binomial(to_canary, 0.1),
            ]
            n_s, k_s, n_c, k_c = totals
            pooled = (k_s + k_c) / (n_s + n_c)
            spread = math.sqrt(max(pooled * (1 - pooled), 1e-9) * (1 / n_s + 1 / max(n_c, 1)))
            if (k_c / max(n_c, 1) - k_s / n_s) / spread > 2.326:  # one-sided, 1 %
                stopped += 1
                break
    assert stopped > most_of(0.01, 100)


@pytest.mark.parametrize(
    ("canary", "signal", "within"),
    [
        (Version(error_odds=10), "errors", 500),
        (Version(milliseconds=10), "latency", 200),
        (Version(shift=1.0), "scores", 200),
        (Version(shift=-1.0), "scores", 200),
    ],
    ids=["ten times the errors", "twice as slow", "scores up", "scores down"],
)
def test_harm_is_stopped_within_so_many_requests(canary: Version, signal: str, within: int) -> None:
    """Requests to the canary until it is stopped, in 100 runs: at a canary's weight of 0.1."""
    needed = []
    for seed in range(100):
        comparison, is_stopped = run(seed, canary)
        assert is_stopped
        assert comparison.log_e_value(signal) >= comparison.needed
        needed.append(comparison.canary.requests)
    assert np.quantile(needed, 0.95) <= within, sorted(needed)[-10:]


def test_harm_is_told_in_figures() -> None:
    comparison, _ = run(1, Version(error_odds=60))
    (sentence,) = comparison.harm
    figures = comparison.figures()
    canary, stable = figures["canary"]["error_share"], figures["stable"]["error_share"]
    assert sentence == f"{canary:.2%} of the canary's requests fail, {stable:.2%} of stable's."
    assert canary > 10 * stable
    assert figures["log_e_values"]["errors"] >= figures["log_e_value_needed"] == 5.704
    assert figures["tolerance"] == {"alpha": 0.01, "errors": 1.5, "latency": 2.0, "scores": 1.5}
    assert set(figures["log_e_values"]) == set(SIGNALS)


def test_without_a_comparison_there_is_no_harm() -> None:
    """All callers go to one version, or nobody calls: nothing can be told, and nothing is."""
    only_canary = Comparison()
    for _ in range(50):
        only_canary = only_canary.add(Sample(), Sample(10, 90, {1e9: 10}, (0.9,) * 10))
    nobody = Comparison().add(Sample(), Sample())
    assert only_canary.harm == nobody.harm == ()


@pytest.mark.parametrize("tolerated", [1.0, 2.0])
@pytest.mark.parametrize("odds", [1.0, 0.5])
def test_the_expectation_of_an_e_value_is_at_most_one(tolerated: float, odds: float) -> None:
    """Computed over all outcomes, from the distribution itself: no simulation."""
    stable, canary, events = 40, 12, 9
    counts = np.arange(0, min(events, canary) + 1)
    ratio = tolerated * odds
    weights = np.array(
        [math.comb(canary, k) * math.comb(stable, events - k) * ratio**k for k in counts]
    )
    values = np.array(
        [
            np.exp(log_evidence(Table(stable, events - int(k), canary, int(k)), tolerated))
            for k in counts
        ]
    )
    expectation = (weights[:, None] / weights.sum() * values).sum(axis=0)
    assert expectation.shape == TRIED.shape
    assert (expectation <= 1 + 1e-9).all()
    if odds == 1.0:
        np.testing.assert_allclose(expectation, 1.0, rtol=1e-9)


def test_large_counts_are_weighed_too() -> None:
    evidence = log_evidence(Table(2_000_000, 20_000, 200_000, 2_000), 1.0)
    assert np.isfinite(evidence).all()
    assert (evidence < 0).all()
