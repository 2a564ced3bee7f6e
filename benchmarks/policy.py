"""A year of terms, replayed: when is retraining worth it, and who finds out?

``python -m benchmarks.policy`` writes ``docs/evidence/policy.json`` and prints the table. The year
is simulated, and everything in it is stated here:

* two terms and the breaks between them; a break has a tenth of the learners. With each turn of the
  calendar the learners' features move, and the concept does not;
* an outcome follows a logistic concept of eight features, which wanders a little every day and is
  changed at once three times, in terms;
* outcomes are known 14 days later. A model is a logistic regression on the labelled rows of the 45
  days before, a fifth of them kept for its evaluation;
* **costs**: serving a term day's learners with 0.01 less AUC than the true concept would have costs
  1. A run costs 2, or, in the second table, 10.

The **oracle** knows what every model would score on every day to come and chooses the run days of
least cost; it cannot be beaten with these models. **Regret** is the cost beyond the oracle's.
Nobody else knows the future: the policy judges by the rules of ``messaging.policy`` as the listener
does, asked every morning with the figures that a monitor would have. Its settings were chosen on
four other years (seeds 100 to 103) and are the same in both tables. The drift threshold is given,
with hindsight, the best of its thresholds in each table, which flatters it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from messaging.policy import Estimate, Facts, Policy, Verdict, judge

DAYS, HISTORY = 365, 75
AUTUMN, SPRING = range(14, 105), range(134, 271)
FEATURES, TERM_ROWS, BREAK_ROWS, TEST_ROWS = 8, 300, 30, 1000
LABEL_DELAY, WINDOW, EVALUATED_SHARE = 14, 45, 0.2
WANDER, JUMP, JUMPS = 0.01, 0.6, 3
AUC_UNIT = 0.01
RUN_COSTS = (2.0, 10.0)
LIVE_DAYS = 14
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
SEEDS = 20
EVIDENCE = Path(__file__).parents[1] / "docs" / "evidence" / "policy.json"
POLICY = Policy(
    minimum_new_rows=1000,
    enough_new_rows=3000,
    cool_down_hours=72,
    runs_a_day=1,
    minimum_gain=0.005,
)

Array = Any
Decide = Callable[["Year", int, int], bool]
"""Told the year, the day and the day of the champion; says whether to run."""


@dataclass(frozen=True)
class Model:
    """What a run on a day gives.

    Args:
        weights: One for each feature, and the constant.
        evaluated: Its AUC on the rows kept for that.
        means: Means of the features it was trained on.
        deviations: Their standard deviations.
    """

    weights: Array
    evaluated: Estimate
    means: Array
    deviations: Array


class Year:
    """One simulated year, with the model of every day.

    Args:
        seed: Of everything that is drawn.
    """

    def __init__(self, seed: int) -> None:
        self._chance = np.random.default_rng(seed)
        self.volume = np.array([1.0 if is_term(day) else 0.1 for day in range(DAYS)])
        jumps = self._chance.choice([d for d in range(DAYS) if is_term(d)], JUMPS, replace=False)
        concept = self._chance.normal(0, 0.6, FEATURES + 1)
        self.features: dict[int, Array] = {}
        self.outcomes: dict[int, Array] = {}
        self._tests: dict[int, tuple[Array, Array, Array]] = {}
        for day in range(-HISTORY, DAYS):
            concept = concept + self._chance.normal(0, WANDER, FEATURES + 1)
            if day in jumps:
                changed = self._chance.choice(FEATURES, FEATURES // 2, replace=False)
                concept[changed] += self._chance.normal(0, JUMP, FEATURES // 2)
            rows = TERM_ROWS if is_term(day) else BREAK_ROWS
            self.features[day], self.outcomes[day] = self._draw(day, rows, concept)
            if day >= 0:
                self._tests[day] = (*self._draw(day, TEST_ROWS, concept), concept)
        self.models = [self._train(day) for day in range(DAYS)]

    def labelled(self, until: int, days: int) -> tuple[Array, Array]:
        """The rows of so many days whose outcomes are known on a day."""
        last = until - LABEL_DELAY
        span = [day for day in range(last - days + 1, last + 1) if day >= -HISTORY]
        features = np.concatenate([self.features[day] for day in span])
        return features, np.concatenate([self.outcomes[day] for day in span])

    @cached_property
    def loss(self) -> Array:
        """What serving a day with the model of a day costs: [day of the model, day served]."""
        weights = np.stack([model.weights for model in self.models], axis=1)
        lost = np.zeros((DAYS, DAYS))
        for day, (features, outcomes, concept) in self._tests.items():
            with_constant = _with_constant(features)
            best = areas(with_constant @ concept[:, None], outcomes)[0]
            found = areas(with_constant @ weights, outcomes)
            lost[:, day] = self.volume[day] * np.maximum(0.0, best - found) / AUC_UNIT
        return lost

    def _draw(self, day: int, rows: int, concept: Array) -> tuple[Array, Array]:
        features = self._chance.normal(0, 1, (rows, FEATURES))
        features[:, :2] += 0.5 if day in SPRING else 0.0 if is_term(day) else -0.5
        chance = 1 / (1 + np.exp(-(_with_constant(features) @ concept)))
        return features, self._chance.random(rows) < chance

    def _train(self, day: int) -> Model:
        features, outcomes = self.labelled(day, WINDOW)
        kept = self._chance.random(len(outcomes)) < EVALUATED_SHARE
        weights = fit(features[~kept], outcomes[~kept])
        scores = _with_constant(features[kept]) @ weights
        return Model(
            weights, estimate(scores, outcomes[kept]), features.mean(axis=0), features.std(axis=0)
        )


def is_term(day: int) -> bool:
    """Tell whether a day is in a term."""
    return day in AUTUMN or day in SPRING or day < 0


def fit(features: Array, outcomes: Array) -> Array:
    """Fit a logistic regression by Newton's method, with a slight pull to zero."""
    rows = _with_constant(features)
    weights = np.zeros(FEATURES + 1)
    for _ in range(8):
        chance = 1 / (1 + np.exp(-(rows @ weights)))
        slope = rows.T @ (outcomes - chance) - weights
        bend = (rows * (chance * (1 - chance))[:, None]).T @ rows + np.eye(FEATURES + 1)
        weights = weights + np.linalg.solve(bend, slope)
    return weights


def areas(scores: Array, outcomes: Array) -> Array:
    """Compute the AUC of each column of scores."""
    places = np.arange(1.0, len(outcomes) + 1)
    ranks = places @ outcomes[scores.argsort(axis=0)]
    positive = outcomes.sum()
    negative = len(outcomes) - positive
    return (ranks - positive * (positive + 1) / 2) / (positive * negative)


def estimate(scores: Array, outcomes: Array) -> Estimate:
    """Compute an AUC with its 95 % interval, by Hanley and McNeil."""
    value = float(areas(scores[:, None], outcomes)[0])
    positive = float(outcomes.sum())
    negative = len(outcomes) - positive
    one, two = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (positive - 1) * (one - value**2)
    spread = (spread + (negative - 1) * (two - value**2)) / (positive * negative)
    half = 1.96 * math.sqrt(spread)
    return Estimate(value, value - half, value + half)


def by_policy(policy: Policy) -> Decide:
    """Ask the policy every morning, with what a monitor knows then."""
    start = datetime(2025, 9, 1, 4, tzinfo=UTC)

    def decide(year: Year, day: int, champion: int) -> bool:
        features, outcomes = year.labelled(day, LIVE_DAYS)
        model = year.models[champion]
        facts = Facts(
            now=start + timedelta(days=day),
            last_run=start + timedelta(days=champion),
            new_rows=len(year.labelled(day, day - champion)[1]) if day > champion else 0,
            live=estimate(_with_constant(features) @ model.weights, outcomes),
            evaluated=model.evaluated,
        )
        return judge(policy, facts).verdict is Verdict.run

    return decide


def by_drift(threshold: float) -> Decide:
    """Run when the mean of a feature has moved by so many standard deviations in a week."""

    def decide(year: Year, day: int, champion: int) -> bool:
        newest = np.concatenate([year.features[one] for one in range(day - 7, day)])
        model = year.models[champion]
        moved = np.abs(newest.mean(axis=0) - model.means) / model.deviations
        return bool(moved.max() > threshold)

    return decide


def every(days: int) -> Decide:
    """Run every so many days."""
    return lambda year, day, champion: day - champion >= days


def never(year: Year, day: int, champion: int) -> bool:
    """Serve the first model all year."""
    return False


def replay(year: Year, decide: Decide) -> list[int]:
    """Go through a year; the days on which runs began, the first model's not among them."""
    champion, runs = 0, []
    for day in range(1, DAYS):
        if decide(year, day, champion):
            champion = day
            runs.append(day)
    return runs


def oracle(year: Year, run_cost: float) -> list[int]:
    """Choose, knowing the future, the run days of least cost."""
    ahead = np.cumsum(year.loss[:, ::-1], axis=1)[:, ::-1]
    ahead = np.concatenate([ahead, np.zeros((DAYS, 1))], axis=1)
    best, then = np.zeros(DAYS + 1), np.zeros(DAYS, dtype=int)
    for day in range(DAYS - 1, -1, -1):
        ends = np.arange(day + 1, DAYS + 1)
        costs = ahead[day, day] - ahead[day, ends] + best[ends] + run_cost * (ends < DAYS)
        then[day] = ends[costs.argmin()]
        best[day] = costs.min()
    days, day = [], int(then[0])
    while day < DAYS:
        days.append(day)
        day = int(then[day])
    return days


def lost(year: Year, runs: Sequence[int]) -> float:
    """What serving cost, the runs not counted."""
    begins = [0, *runs]
    ends = [*runs, DAYS]
    return float(sum(year.loss[b, b:e].sum() for b, e in zip(begins, ends, strict=True)))


def measure(seeds: int) -> dict[str, Any]:
    """Replay so many years with everybody.

    Args:
        seeds: The number of years.

    Returns:
        The rows of the tables, means over the years, with the standard error of the regret.
    """
    years = [Year(seed) for seed in range(seeds)]
    deciders: dict[str, Decide] = {
        "policy": by_policy(POLICY),
        "weekly cron": every(7),
        "fortnightly cron": every(14),
        "monthly cron": every(30),
        "never": never,
    }
    drifts = {f"drift above {limit:g}": by_drift(limit) for limit in THRESHOLDS}
    runs = {
        name: [replay(year, decide) for year in years]
        for name, decide in (deciders | drifts).items()
    }
    tables = {}
    for cost in RUN_COSTS:
        ideal = [oracle(year, cost) for year in years]
        rows = [_row("oracle", years, ideal, ideal, cost)]
        rows += [_row(name, years, runs[name], ideal, cost) for name in deciders]
        tried = [_row(name, years, runs[name], ideal, cost) for name in drifts]
        rows.append(min(tried, key=lambda row: float(row["regret"])))
        tables[f"{cost:g}"] = sorted(rows, key=lambda row: float(row["regret"]))
    return {"years": seeds, "policy": _settings(), "tables by cost of a run": tables}


def _row(
    name: str,
    years: Sequence[Year],
    runs: Sequence[Sequence[int]],
    ideal: Sequence[Sequence[int]],
    cost: float,
) -> dict[str, Any]:
    paid = np.array([lost(y, days) + cost * len(days) for y, days in zip(years, runs, strict=True)])
    least = np.array(
        [lost(y, days) + cost * len(days) for y, days in zip(years, ideal, strict=True)]
    )
    regret = paid - least
    return {
        "who": name,
        "runs": round(float(np.mean([len(days) for days in runs])), 1),
        "cost": round(float(paid.mean()), 1),
        "regret": round(float(regret.mean()), 1),
        "standard error": round(float(regret.std() / math.sqrt(len(years))), 1),
    }


def _settings() -> dict[str, float]:
    names = ("minimum_new_rows", "cool_down_hours", "runs_a_day", "minimum_gain")
    return {name: getattr(POLICY, name) for name in names}


def _with_constant(features: Array) -> Array:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def main() -> int:
    """Measure, print and write.

    Returns:
        The exit code.
    """
    measured = measure(SEEDS)
    EVIDENCE.write_text(json.dumps(measured, indent=2) + "\n")
    for cost, rows in measured["tables by cost of a run"].items():
        print(f"A run costs {cost}:\n\n| who | runs | cost | regret |\n|---|---|---|---|")
        for row in rows:
            regret = f"{row['regret']} ± {row['standard error']}"
            print(f"| {row['who']} | {row['runs']} | {row['cost']} | {regret} |")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
