"""Rows that are kept beside a model are like learners' rows, and nobody's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.served_rows import COMMON, made_up_rows, served_rows
from learnloop.artifacts import Examples, Model

COUNT = 400
COLUMNS: list[dict[str, Any]] = [
    {"name": "score", "dtype": "float32", "shape": []},
    {"name": "tries", "dtype": "int64", "shape": []},
    {"name": "course", "dtype": "string", "shape": []},
    {"name": "skills", "dtype": "string", "shape": [None], "padding": ""},
    {"name": "responses", "dtype": "int64", "shape": [None], "padding": -1},
]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    model = Model.create(tmp_path / "model")
    document = {"signature": {"inputs": COLUMNS}}
    (model.path / "training.json").write_text(json.dumps(document))
    return model


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    random = np.random.default_rng(4)
    lengths = random.integers(1, 30, COUNT)
    rows = {
        "learner": pa.array([f"learner-{n}" for n in range(COUNT)]),
        "score": pa.array(random.normal(60, 15, COUNT).astype(np.float32)),
        "tries": pa.array(random.integers(0, 9, COUNT)),
        "course": pa.array([*random.choice(["logic", "sums"], COUNT - 1), "their own course"]),
        "skills": pa.array([[str(s) for s in random.integers(0, 5, n)] for n in lengths]),
        "responses": pa.array([random.integers(0, 2, n).tolist() for n in lengths]),
    }
    examples = Examples.create(tmp_path / "examples")
    examples.write("train", pa.table(rows))
    return examples


def rows_of(tensors: Any, names: list[str]) -> set[tuple[Any, ...]]:
    columns = [tensors[name].tolist() for name in names]
    return {tuple(map(str, row)) for row in zip(*columns, strict=True)}


def test_they_have_the_form_of_real_rows_and_are_nobodys(model: Model, examples: Examples) -> None:
    real, made_up = served_rows(model, examples, COUNT), made_up_rows(model, examples, 32)
    assert {n: (v.dtype, v.ndim) for n, v in made_up.items()} == {
        n: (v.dtype, v.ndim) for n, v in real.items()
    }
    assert {len(values) for values in made_up.values()} == {32}
    names = [column["name"] for column in COLUMNS]
    assert not rows_of(real, names) & rows_of(made_up, names)
    long = [row for row in made_up["skills"].tolist() if row[14]]
    assert len(long) > 10 and not any(row in real["skills"].tolist() for row in long)


def test_values_are_what_many_have(model: Model, examples: Examples) -> None:
    made_up = made_up_rows(model, examples, 32)
    assert set(made_up["course"].tolist()) == {b"logic", b"sums"}
    scores = examples.table("train", ["score"])["score"].to_numpy()
    assert scores.min() < made_up["score"].min() < made_up["score"].max() < scores.max()
    assert not set(scores.tolist()) & set(made_up["score"].tolist())
    assert set(made_up["tries"].tolist()) <= set(range(9)) and len(set(made_up["tries"])) > 5
    assert np.corrcoef(made_up["score"], made_up["tries"])[0, 1] < 0.5, "they do not rise together"
    lengths = [(values != padding).sum(axis=1).tolist() for values, padding in (
        (made_up["skills"], b""), (made_up["responses"], -1)
    )]  # fmt: skip
    assert lengths[0] == lengths[1] and len(set(lengths[0])) > 10, "lists of one row stay aligned"


def test_equal_rows_give_equal_rows(model: Model, examples: Examples) -> None:
    first, again = (made_up_rows(model, examples, 3) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_a_handful_of_rows(model: Model, tmp_path: Path) -> None:
    """Nothing is common to ten rows: the most frequent text is taken, and the mean of all."""
    few = Examples.create(tmp_path / "few")
    rows = {
        "score": pa.array([1.0, 2.0, 3.0], pa.float32()),
        "tries": pa.array([1, 2, 3]),
        "course": pa.array(["sums", "logic", "sums"]),
        "skills": pa.array([["1"], [], ["2"]]),
        "responses": pa.array([[1], [], [0]]),
    }
    few.write("train", pa.table(rows))
    assert len(rows["course"]) < COMMON
    made_up = made_up_rows(model, few, 4)
    assert made_up["course"].tolist() == [b"sums"] * 4
    assert (made_up["score"].tolist(), made_up["tries"].tolist()) == ([2.0] * 4, [2] * 4)
