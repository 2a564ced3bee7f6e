"""Scores against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.engines.training.scores import area_under_curve, log_loss

ANSWERS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 20).map(lambda n: n / 20)), min_size=2, max_size=60
)


@given(ANSWERS)
def test_scores_equal_those_of_scikit_learn(answers):
    from sklearn import metrics

    labels, probabilities = map(np.asarray, zip(*answers, strict=True))
    if len(set(labels)) == 1:
        assert math.isnan(area_under_curve(labels, probabilities))
        return
    assert area_under_curve(labels, probabilities) == pytest.approx(
        metrics.roc_auc_score(labels, probabilities), abs=1e-12
    )
    sure = np.clip(probabilities, 1e-7, 1 - 1e-7)
    assert log_loss(labels, probabilities) == pytest.approx(metrics.log_loss(labels, sure))
