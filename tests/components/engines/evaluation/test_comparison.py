"""Champion against challenger: a better model is found, an equal one is not."""

from __future__ import annotations

import time

import numpy as np
import pytest

from components.engines.evaluation import Predictions, auc, compare
from learnloop.errors import UsageError


def models(rows: int, seed: int, better: float = 0.0):
    """Draw labels and two models' predictions; the first sees the truth ``better`` more clearly."""
    generator = np.random.default_rng(seed)
    labels = generator.random(rows) < 0.4
    shared = generator.normal(size=rows)
    made = [
        1.0 / (1.0 + np.exp(-(lift * labels - 0.9 + shared + 0.3 * generator.normal(size=rows))))
        for lift in (1.0 + better, 1.0)
    ]
    return labels, made[0], made[1]


@pytest.mark.parametrize("bootstrap_rows", [50_000, 0])
def test_a_better_challenger_is_found(bootstrap_rows: int) -> None:
    labels, challenger, champion = models(9_000, seed=1, better=0.2)
    found = compare(Predictions.of(labels, challenger), champion, bootstrap_rows=bootstrap_rows)
    assert found.auc.difference == auc(labels, challenger) - auc(labels, champion)
    assert 0.0 < found.auc.interval[0] < found.auc.difference < found.auc.interval[1]
    assert found.auc.probability_better > 0.999
    assert found.log_loss.interval[1] < 0.0
    assert found.log_loss.probability_better > 0.999
    assert found.rows == 9_000


@pytest.mark.parametrize("bootstrap_rows", [50_000, 0])
def test_an_equal_challenger_is_not_called_better(bootstrap_rows: int) -> None:
    """Of 60 comparisons of equal models, the 95 % interval leaves zero out in few."""
    wrong = 0
    for seed in range(60):
        labels, challenger, champion = models(600, seed)
        found = compare(
            Predictions.of(labels, challenger),
            champion,
            resamples=200,
            bootstrap_rows=bootstrap_rows,
            seed=seed,
        )
        wrong += not found.auc.interval[0] <= 0.0 <= found.auc.interval[1]
    assert wrong <= 8


@pytest.mark.parametrize("bootstrap_rows", [50_000, 0])
def test_the_same_model_twice_is_a_draw(bootstrap_rows: int) -> None:
    labels, challenger, _ = models(500, seed=2)
    found = compare(Predictions.of(labels, challenger), challenger, bootstrap_rows=bootstrap_rows)
    for figure in (found.auc, found.log_loss):
        assert (figure.difference, figure.interval) == (0.0, (0.0, 0.0))
        assert figure.probability_better == 0.5


def test_bootstrap_and_normal_approximation_agree() -> None:
    labels, challenger, champion = models(9_000, seed=3, better=0.02)
    made = Predictions.of(labels, np.round(challenger, 2))
    resampled = compare(made, champion)
    approximated = compare(made, champion, bootstrap_rows=0)
    assert (resampled.method, resampled.resamples) == ("paired bootstrap", 1_000)
    assert (approximated.method, approximated.resamples) == ("paired normal approximation", 0)
    for name in ("auc", "log_loss"):
        one, other = getattr(resampled, name), getattr(approximated, name)
        assert one.difference == pytest.approx(other.difference, abs=1e-12)
        width = other.interval[1] - other.interval[0]
        np.testing.assert_allclose(one.interval, other.interval, atol=0.1 * width)
        assert one.probability_better == pytest.approx(other.probability_better, abs=0.05)


@pytest.mark.parametrize("bootstrap_rows", [50_000, 0])
def test_steps_of_one_learner_are_drawn_together(bootstrap_rows: int) -> None:
    """Nine copies of each row as one cluster say no more than the row alone."""
    labels, challenger, champion = models(800, seed=4, better=0.1)
    copies = np.repeat(np.arange(800), 9)
    alone = compare(Predictions.of(labels, challenger), champion, bootstrap_rows=bootstrap_rows)
    together = compare(
        Predictions.of(labels[copies], challenger[copies], copies),
        champion[copies],
        bootstrap_rows=bootstrap_rows,
    )
    for name in ("auc", "log_loss"):
        one, other = getattr(alone, name), getattr(together, name)
        width = one.interval[1] - one.interval[0]
        assert other.interval[1] - other.interval[0] == pytest.approx(width, rel=0.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    labels, challenger, champion = models(400, seed=5)
    made = Predictions.of(labels, challenger)
    first, again, other = (compare(made, champion, resamples=50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.auc.interval != other.auc.interval


def test_a_thousand_resamples_of_nine_thousand_rows_take_about_a_second() -> None:
    labels, challenger, champion = models(9_000, seed=6)
    start = time.process_time()
    compare(Predictions.of(labels, challenger), champion)
    assert time.process_time() - start < 20.0


def test_too_few_of_a_class_cannot_be_compared() -> None:
    with pytest.raises(UsageError) as refusal:
        compare(Predictions.of([1, 0, 0, 0], [0.9, 0.2, 0.3, 0.1]), np.array([0.5] * 4))
    assert str(refusal.value) == (
        "The models cannot be compared: the rows hold too few of one class.\n"
        "  expected: at least 2 positive and 2 negative rows\n"
        "  received: 1 positive and 3 negative rows"
    )
