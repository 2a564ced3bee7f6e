"""Features against a plain reading of their definitions, and what they must not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log1p

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.knowledge_tracing.features import HISTORY, INTERACTION, history_features
from tests.pipelines.knowledge_tracing.conftest import Trained

Row = list[tuple[int, int]]
FeaturesOf = Callable[[Sequence[Row]], dict[str, np.ndarray]]
STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def features_of() -> FeaturesOf:
    """Computes the features of rows of (skill, response), laid end to end."""
    import tensorflow as tf

    step = tf.TensorSpec([None], tf.int64)
    history = tf.function(history_features, input_signature=[step, step, step])

    def compute(rows: Sequence[Row]) -> dict[str, np.ndarray]:
        flat = [(number, *step) for number, row in enumerate(rows) for step in row]
        columns = np.array(flat, np.int64).reshape(-1, 3).T
        return {name: values.numpy() for name, values in history(*columns).items()}

    return compute


def plainly(row: Row) -> dict[str, list[float]]:
    """The features of one row, step by step."""
    found: dict[str, list[float]] = {name: [] for name in (*HISTORY, INTERACTION)}
    for step, (skill, _) in enumerate(row):
        before = row[:step]
        given_before = [response for _, response in before]
        times = [at for at, (other, _) in enumerate(before) if other == skill]
        on_skill = [row[at][1] for at in times]
        streak = run = 0
        while streak < len(on_skill) and on_skill[-1 - streak]:
            streak += 1
        while run < step and before[-1 - run][0] == skill:
            run += 1
        values = {
            "attempts_on_skill": log1p(len(times)),
            "mean_on_skill": (sum(on_skill) + 1) / (len(on_skill) + 2),
            "recent_mean_on_skill": (sum(on_skill[-5:]) + 1) / (len(on_skill[-5:]) + 2),
            "last_on_skill": 2 * on_skill[-1] - 1 if times else 0,
            "streak_on_skill": log1p(streak),
            "steps_since_skill": log1p(step - times[-1]) if times else 0,
            "responses_so_far": log1p(step),
            "mean_so_far": (sum(given_before) + 1) / (step + 2),
            "recent_mean_so_far": (sum(given_before[-10:]) + 1) / (len(given_before[-10:]) + 2),
            "skills_so_far": log1p(len({other for other, _ in before})),
            "run_of_skill": log1p(run),
            INTERACTION: 1 + 2 * before[-1][0] + before[-1][1] if before else 0,
        }
        for name, value in values.items():
            found[name].append(value)
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=4))
def test_features_are_what_they_say(features_of: FeaturesOf, rows: list[Row]) -> None:
    found = features_of(rows)
    assert set(found) == {*HISTORY, INTERACTION}
    for name, values in found.items():
        expected = [value for row in rows for value in plainly(row)[name]]
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.data())
def test_a_response_tells_only_of_later_steps(
    features_of: FeaturesOf, row: Row, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, len(row) - 1))
    changed = [*row[:step], (row[step][0], 1 - row[step][1]), *row[step + 1 :]]
    whole, other, prefix = (
        features_of([row]),
        features_of([changed]),
        features_of([row[: step + 1]]),
    )
    for name, values in whole.items():
        assert np.array_equal(values[: step + 1], other[name][: step + 1]), name
        assert np.array_equal(values[: step + 1], prefix[name]), name


def test_the_vocabulary_is_learned_from_the_training_split_only(trained: Trained) -> None:
    table = trained.transformed.table("test")
    unknown = table["skill"].to_pylist()[-1]
    assert trained.examples.table("test")["skills"].to_pylist()[-1] == ["never seen"]
    assert unknown[0] == 5
    assert max(max(row) for row in trained.transformed.table("train")["skill"].to_pylist()) == 4
