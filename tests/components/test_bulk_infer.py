"""Scores of many rows: in order, equal to those of single questions, in bounded batches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from components.bulk_infer import bulk_infer, resolve_rows
from learnloop.artifacts import Examples, Model, Records
from learnloop.component import Context
from learnloop.errors import UsageError
from learnloop.settings import Settings
from tests.components.served import SCORE, STEPS, table, write_examples, write_model

pytestmark = pytest.mark.xdist_group("served")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return write_model(tmp_path_factory.mktemp("model") / "model")


class Told:
    """Takes progress."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, float]]] = []

    def __call__(self, text: str, /, **numbers: float) -> None:
        self.told.append((text, numbers))


def scored(
    folder: Path, model: Model, examples: Examples | None = None, **parameters: Any
) -> tuple[Records, Told]:
    scratch = folder / "scratch"
    scratch.mkdir()
    predictions = Records.create(folder / "predictions")
    told = Told()
    base = Context.for_test(scratch)
    context = Context(**{**base.__dict__, "report": told})
    bulk_infer.function(model, examples, predictions, context=context, **parameters)
    return predictions, told


def expected(rows: pa.Table) -> list[float]:
    return [
        1 / (1 + math.exp(-((score - 60) / 15 - (0.5 if course == "logic" else 0))))
        for score, course in zip(rows["score"].to_pylist(), rows["course"].to_pylist(), strict=True)
    ]


def test_examples_split_by_split(tmp_path: Path, model: Model) -> None:
    examples = write_examples(tmp_path / "examples", rows=100)
    found, told = scored(tmp_path, model, examples, ids=("learner",), batch_rows=32)
    assert found.names == ("train", "test")
    rows = found.table("test")
    assert rows.schema.names == ["learner", "score"]
    assert rows["learner"].to_pylist() == table(100)["learner"].to_pylist()
    np.testing.assert_allclose(rows["score"].to_pylist(), expected(table(100)), atol=1e-6)
    progress = [numbers["done"] for text, numbers in told.told if text == "scored test"]
    assert progress == [32, 64, 96, 100]
    assert all(numbers["rows_per_second"] > 0 for _, numbers in told.told)


def test_a_folder_of_parts(tmp_path: Path, model: Model) -> None:
    """``spring/*.parquet`` is one table, ``autumn.parquet`` another; types may be wider."""
    source = tmp_path / "rows"
    (source / "spring").mkdir(parents=True)
    rows = table(90)
    wide = rows.set_column(1, "score", rows["score"].cast(pa.float64()))
    parquet.write_table(wide.slice(0, 50), source / "spring" / "1.parquet")
    parquet.write_table(wide.slice(50), source / "spring" / "2.parquet")
    parquet.write_table(rows.slice(0, 5), source / "autumn.parquet")
    found, _ = scored(tmp_path, model, source=str(source), ids=("learner",), batch_rows=20)
    assert found.counts == {"autumn": 5, "spring": 90}
    assert found.table("spring")["learner"].to_pylist() == rows["learner"].to_pylist()
    np.testing.assert_allclose(found.table("spring")["score"], expected(rows), atol=1e-6)


def test_without_ids_there_is_the_score_alone(tmp_path: Path, model: Model) -> None:
    parquet.write_table(table(3), tmp_path / "rows.parquet")
    found, _ = scored(tmp_path, model, source=str(tmp_path / "rows.parquet"))
    assert found.table("rows").schema.names == ["score"]


def test_no_rows_are_no_scores(tmp_path: Path, model: Model) -> None:
    parquet.write_table(table(0), tmp_path / "rows.parquet")
    found, _ = scored(tmp_path, model, source=str(tmp_path / "rows.parquet"), ids=("learner",))
    assert found.counts == {"rows": 0}
    assert found.table("rows").schema.names == ["learner", "score"]


def test_sequences_and_a_row_of_which_nothing_is_to_be_said(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", (SCORE, STEPS))
    parquet.write_table(table(40), tmp_path / "rows.parquet")
    found, _ = scored(tmp_path, model, source=str(tmp_path / "rows.parquet"), batch_rows=7)
    scores = found.table("rows")["score"].to_pylist()
    assert [number for number, score in enumerate(scores) if score is None] == list(range(0, 40, 4))
    for number in (1, 2, 3, 39):
        steps = sum(range(number % 4)) / 10
        assert scores[number] == pytest.approx(
            1 / (1 + math.exp(-((number - 60) / 15 + steps))), abs=1e-6
        )


@pytest.mark.parametrize("order", [1, -1])
def test_the_size_of_a_batch_changes_nothing(tmp_path: Path, model: Model, order: int) -> None:
    rows = table(300)
    parquet.write_table(rows.take(list(range(300))[::order]), tmp_path / "rows.parquet")
    source = str(tmp_path / "rows.parquet")
    found = []
    for size in (1_000, 13):
        folder = tmp_path / str(size)
        folder.mkdir()
        found.append(scored(folder, model, source=source, batch_rows=size)[0].table("rows"))
    np.testing.assert_allclose(found[0]["score"], found[1]["score"], atol=1e-7)


def test_the_source_is_part_of_the_key(tmp_path: Path) -> None:
    settings = Settings()
    assert resolve_rows({"source": ""}, settings) == {}
    parquet.write_table(table(3), tmp_path / "rows.parquet")
    before = resolve_rows({"source": str(tmp_path)}, settings)
    parquet.write_table(table(4), tmp_path / "rows.parquet")
    assert resolve_rows({"source": str(tmp_path)}, settings) != before


def test_what_cannot_be_scored(tmp_path: Path, model: Model) -> None:
    examples = write_examples(tmp_path / "examples", rows=3)

    def said(**parameters: Any) -> str:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        with pytest.raises(UsageError) as caught:
            scored(folder, model, **parameters)
        return str(caught.value)

    assert said() == (
        "It is not clear which rows to score.\n"
        "  where:    bulk_infer\n"
        "  expected: examples, or a source\n"
        "  received: neither"
    )
    assert said(examples=examples, source="rows").endswith("received: both")
    assert said(examples=examples, ids=("lerner",)) == (
        "The rows have no column 'lerner'.\n"
        "  where:    split train\n"
        "  expected: did you mean 'learner'?\n"
        "  received: 'lerner'"
    )
    assert said(examples=examples, ids=("learner", "score")) == (
        "A column that is kept cannot be called as the score is.\n"
        "  where:    parameter 'ids'\n"
        "  expected: other columns than 'score'\n"
        "  received: learner, score"
    )
    parquet.write_table(table(3).drop(["course"]), tmp_path / "rows.parquet")
    assert said(source=str(tmp_path / "rows.parquet")) == (
        "The rows have no column 'course'.\n"
        "  where:    table rows\n"
        "  expected: did you mean 'score'?\n"
        "  received: 'course'"
    )
