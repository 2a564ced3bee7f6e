"""The exported model on raw rows: what it answers, and that no answer knows what comes later."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.engines.training.features import describe_features
from pipelines.knowledge_tracing.features import LABEL
from tests.pipelines.knowledge_tracing.conftest import (
    PARTITIONS,
    Served,
    Trained,
    random_sequences,
    train_model,
)


def test_the_signature_is_documented(trained: Trained) -> None:
    assert trained.model.training["signature"] == {
        "inputs": [
            {"name": "next_skill", "dtype": "string", "shape": [], "padding": None},
            {"name": "responses", "dtype": "int64", "shape": [None], "padding": -1},
            {"name": "skills", "dtype": "string", "shape": [None], "padding": ""},
        ],
        "padding_side": "end",
        "longest_in_training": 8,
        "signatures": {
            "serving_default": {"probability": {"dtype": "float32", "shape": []}},
            "every_step": {"probability": {"dtype": "float32", "shape": [None], "padding": -1.0}},
        },
    }


def test_every_step_is_what_the_prefix_is_served(served: Served) -> None:
    for skills, responses in random_sequences(6, seed=11, longest=30):
        whole = served.every_step([skills[:-1]], [responses[:-1]], [skills[-1]])[0]
        prefixes = range(len(skills))
        asked = served.next_step(
            [skills[:step] for step in prefixes],
            [responses[:step] for step in prefixes],
            [skills[step] for step in prefixes],
        )
        assert whole.shape == (len(skills),)
        np.testing.assert_allclose(whole, asked, atol=1e-6, rtol=0)


def test_a_response_never_reaches_its_own_or_an_earlier_prediction(served: Served) -> None:
    skills, responses = random_sequences(1, seed=12, longest=30)[0]
    before = served.every_step([skills[:-1]], [responses[:-1]], [skills[-1]])[0]
    for step in range(len(skills) - 1):
        changed = [*responses[:-1]]
        changed[step] = 1 - changed[step]
        after = served.every_step([skills[:-1]], [changed], [skills[-1]])[0]
        assert np.array_equal(after[: step + 1], before[: step + 1])
        assert after[step + 1] != before[step + 1]


def test_a_later_skill_never_reaches_an_earlier_prediction(served: Served) -> None:
    skills, responses = random_sequences(1, seed=13, longest=30)[0]
    before = served.every_step([skills[:-1]], [responses[:-1]], [skills[-1]])[0]
    for step in range(len(skills)):
        changed = [*skills]
        changed[step] = "never seen"
        after = served.every_step([changed[:-1]], [responses[:-1]], [changed[-1]])[0]
        assert np.array_equal(after[:step], before[:step])


def test_padding_and_neighbours_change_nothing(served: Served) -> None:
    rows = random_sequences(5, seed=14, longest=20)
    skills = [row[:-1] for row, _ in rows]
    responses = [row[:-1] for _, row in rows]
    after = [row[-1] for row, _ in rows]
    together = served.next_step(skills, responses, after)
    alone = [served.next_step([skills[row]], [responses[row]], [after[row]])[0] for row in range(5)]
    np.testing.assert_allclose(together, alone, atol=1e-6, rtol=0)
    steps = served.every_step(skills, responses, after)
    assert [int(np.sum(row >= 0)) for row in steps] == [len(row) + 1 for row in skills]


def test_an_unknown_skill_has_an_answer_of_its_own(served: Served) -> None:
    answers = served.next_step([["skill 1"]] * 3, [[1]] * 3, ["never seen", "nor this", "skill 1"])
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("second", [[1, 0], [-1, -1]])
def test_a_response_too_many_or_too_few_is_refused(served: Served, second: list[int]) -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match="one response for each skill"):
        served.next_step([["skill 1", "skill 2"], ["skill 1", ""]], [[1, 1], second], ["a", "a"])


def test_served_is_what_training_computes(trained: Trained, served: Served) -> None:
    import keras

    from components.engines.training.fit import predict
    from components.engines.training.packing import pack

    network = keras.models.load_model(trained.model.path / "model.keras")
    packed = pack(trained.transformed.table("test"), label=LABEL)
    rows = trained.examples.table("test").to_pylist()
    steps = served.every_step(
        [row["skills"] for row in rows],
        [row["responses"] for row in rows],
        [row["next_skill"] for row in rows],
    )
    np.testing.assert_allclose(steps[steps >= 0], predict(network, packed), atol=1e-6, rtol=0)


def test_another_test_file_makes_the_same_model(trained: Trained, tmp_path: Path) -> None:
    other = {**PARTITIONS, "test": random_sequences(7, seed=21, skills=9)}
    again = train_model(tmp_path / "again", other)
    assert again.examples.content_digest() != trained.examples.content_digest()
    assert _learned(again) == _learned(trained)


def _learned(trained: Trained) -> dict[str, object]:
    import keras

    network = keras.models.load_model(trained.model.path / "model.keras")
    names = [*describe_features(trained.transformed.schema("train"))]
    curves = json.dumps(trained.model.training["curves"])
    return {"columns": names, "curves": curves, "digest": trained.model.content_digest()} | {
        weight.path: weight.numpy().tobytes() for weight in network.weights
    }
