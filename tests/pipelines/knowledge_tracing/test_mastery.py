from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from learnloop.errors import UsageError
from pipelines.knowledge_tracing.mastery import Recommendation, estimate_mastery, recommend
from tests.pipelines.knowledge_tracing.conftest import Served


def test_each_skill_is_asked_with_the_same_history() -> None:
    asked: list[Mapping[str, NDArray[Any]]] = []

    def predict(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        asked.append(columns)
        return np.array([0.25, 0.75])

    history = ["area"] * 250
    mastery = estimate_mastery(predict, history, [1] * 249 + [0], ["area", "volume"])
    assert mastery == {"area": 0.25, "volume": 0.75}
    assert asked[0]["skills"].shape == asked[0]["responses"].shape == (2, 199)
    assert asked[0]["responses"][:, -1].tolist() == [0, 0]
    assert asked[0]["next_skill"].tolist() == ["area", "volume"]


def test_the_exported_model_answers(served: Served) -> None:
    def predict(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return served.next_step(**{name: values.tolist() for name, values in columns.items()})

    candidates = ["skill 0", "skill 1", "never seen"]
    for history in ([], ["skill 0", "skill 1"]):
        mastery = estimate_mastery(predict, history, [1] * len(history), candidates)
        assert list(mastery) == candidates
        assert all(0 < probability < 1 for probability in mastery.values())


def test_a_history_without_a_response_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        estimate_mastery(lambda columns: np.empty(0), ["area", "volume"], [1], ["area"])
    assert refused.value.what == "A history has one response for each skill."
    assert refused.value.expected == "2 responses"
    assert refused.value.received == "1 responses"


@pytest.mark.parametrize(
    ("mastery", "expected"),
    [
        ({"a": 0.79, "b": 0.5, "c": 0.49, "d": 0.9}, Recommendation("b", 0.5, "within reach")),
        ({"b": 0.6, "a": 0.6}, Recommendation("a", 0.6, "within reach")),
        ({"a": 0.1, "b": 0.4, "c": 0.95}, Recommendation("b", 0.4, "easiest first")),
        ({"a": 0.99, "b": 0.8}, Recommendation("b", 0.8, "review")),
        ({}, None),
    ],
)
def test_what_to_practise_next(mastery: dict[str, float], expected: Recommendation | None) -> None:
    assert recommend(mastery) == expected
