"""Every sentence a person may read when a model is refused or warned about."""

from __future__ import annotations

import numpy as np

from components.engines.evaluation import (
    Bars,
    Beside,
    Grouping,
    Predictions,
    Scope,
    Verdict,
    assess,
    judge,
    measure,
)
from components.engines.evaluation.comparison import Comparison, Difference
from components.engines.evaluation.fairness import Abroca, Fairness
from components.engines.evaluation.slices import Slice

GOOD = measure(Predictions.of([0, 0, 1, 1] * 25, [0.1, 0.05, 0.9, 0.95] * 25))
POOR = measure(Predictions.of([0, 1, 0, 1] * 25, [0.1, 0.4, 0.5, 0.9] * 25))


def compared(difference: float) -> Comparison:
    auc = Difference(0.761, 0.761 - difference, difference, (difference - 0.01, -0.002), 0.01)
    return Comparison(8_728, "paired bootstrap", 1_000, auc, auc)


def gender(excess: float, gap: float) -> Fairness:
    unequal = Abroca("F", excess + 0.021, 0.021, 0.001, excess)
    return Fairness("gender", "M", (), (unequal,), gap, 0.1, 1_000, 0)


def test_a_good_model_is_blessed_without_reasons() -> None:
    assert judge("test", GOOD, [], [], None, Bars()) == Verdict(True, (), ())


def test_a_poor_model_is_refused_with_figures() -> None:
    bars = Bars(min_auc=0.8, max_ece=0.1)
    low, high = POOR.auc_interval or (0.0, 0.0)
    assert judge("test", POOR, [], [], None, bars).reasons == (
        f"The AUC on test is 0.750 (95 % interval {low:.3f} to {high:.3f});"
        " at least 0.800 is required.",
        "The calibration error (ECE) on test is 0.325; at most 0.100 is allowed.",
    )


def test_one_class_is_refused_with_the_reason() -> None:
    made = measure(Predictions.of([0] * 5, [0.01] * 5))
    assert judge("holdout", made, [], [], None, Bars()).reasons == (
        "The AUC on holdout cannot be measured: all 5 rows are negative;"
        " at least 0.700 is required.",
    )


def test_a_weak_slice_refuses_only_when_slices_are_asked_for() -> None:
    weak = [Slice("module", "BBB", POOR)]
    assert judge("test", GOOD, weak, [], None, Bars()).blessed
    low, high = POOR.auc_interval or (0.0, 0.0)
    assert judge("test", GOOD, weak, [], None, Bars(min_slice_auc=0.76)).reasons == (
        f"The AUC where module is BBB is 0.750 (95 % interval {low:.3f} to {high:.3f})"
        " on 100 rows; at least 0.760 is required of a slice.",
    )


def test_a_challenger_below_the_champion_is_refused_beyond_the_tolerance() -> None:
    assert judge("test", GOOD, [], [], compared(-0.004), Bars()).blessed
    assert judge("test", GOOD, [], [], compared(-0.012), Bars()).reasons == (
        "The AUC is 0.0120 below the champion's on the same 8,728 rows (0.7610 against 0.7730,"
        " 95 % interval of the difference -0.0220 to -0.0020); at most 0.0050 below is allowed.",
    )


def test_an_unfairness_warns_or_refuses_as_asked() -> None:
    sentences = (
        "The ROC curves of gender F and M lie 0.104 apart (ABROCA), 0.083 more than chance"
        " explains (95th percentile of the null 0.021); at most 0.050 more is allowed.",
        "The true positive rates of the groups of gender lie 0.250 apart at the threshold;"
        " at most 0.200 is allowed.",
    )
    unfair = [gender(excess=0.083, gap=0.25)]
    assert judge("test", GOOD, [], unfair, None, Bars()) == Verdict(True, (), sentences)
    refusing = Bars(on_unfair="refuse")
    assert judge("test", GOOD, [], unfair, None, refusing) == Verdict(False, sentences, ())
    assert judge("test", GOOD, [], [gender(excess=0.04, gap=0.1)], None, refusing).blessed


def test_the_document_holds_what_was_asked_for() -> None:
    generator = np.random.default_rng(1)
    labels = generator.random(600) < 0.4
    scores = 1.0 / (1.0 + np.exp(-generator.normal(2.0 * labels - 1.2)))
    made = Predictions.of(labels, scores)
    groups = Grouping("gender", ("F", "M"), generator.integers(0, 2, 600))
    assessed = assess(
        {"train": made.only(scores < 0.9), "test": made},
        bars=Bars(),
        scope=Scope(permutations=20, resamples=20),
        beside=Beside(
            slices=[groups],
            protected=[groups],
            champion=np.clip(scores + 0.01, 0.0, 1.0),
            without=("repeated", scores > 0.5),
            notes=("The data are simulated.",),
        ),
    )
    document = assessed.document
    assert list(document["metrics"]) == ["train", "test"]
    assert document["metrics"]["test"]["auc"] == measure(made).auc
    assert document["without"]["column"] == "repeated"
    assert document["without"]["rows_left_out"] == int((scores > 0.5).sum())
    assert document["without"]["auc"] == measure(made.only(scores <= 0.5)).auc
    assert [(part["column"], part["value"]) for part in document["slices"]] == [
        ("gender", "F"),
        ("gender", "M"),
    ]
    assert sorted(document["curves"]) == ["calibration", "champion_roc", "roc"]
    assert document["fairness"][0]["permutations"] == 20
    assert document["champion"]["rows"] == 600
    assert document["bars"]["min_auc"] == 0.7
    assert assessed.verdict.warnings[-1] == "The data are simulated."


def test_nothing_known_beside_gives_figures_alone() -> None:
    assessed = assess({"test": Predictions.of([0, 0], [0.1, 0.2])}, bars=Bars(min_auc=0.6))
    for absent in ("without", "champion"):
        assert assessed.document[absent] is None
    assert (assessed.document["curves"], assessed.document["slices"]) == ({}, [])
    assert assessed.verdict.reasons == (
        "The AUC on test cannot be measured: all 2 rows are negative; at least 0.600 is required.",
        "The calibration error (ECE) on test is 0.150; at most 0.100 is allowed.",
    )
