"""The evaluate component on real SavedModels: what is served is what is judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from components.engines.training.signature import RawColumn
from components.evaluate import evaluate
from learnloop.artifacts import Blessing, Evaluation, Examples, Model
from learnloop.component import Context
from learnloop.errors import GateRefused, UsageError

CLICKS = RawColumn("clicks", "float32", ())
ATTEMPTS = RawColumn("attempts", "int64", ())
GENDER = RawColumn("gender", "string", (None,), "")
SKILLS = RawColumn("skills", "string", (None,), "")
RESPONSES = RawColumn("responses", "int64", (None,), -1)


def save(folder: Path, signature: str, columns: list[RawColumn], answer) -> Model:
    """Export a function of raw columns as a model, with the description beside."""
    import tensorflow as tf

    model = Model.create(folder)
    specs = {column.name: column.tensor_spec() for column in columns}
    module = tf.Module()
    served = tf.function(lambda **raw: {"probability": answer(**raw)})
    signatures = {signature: served.get_concrete_function(**specs)}
    tf.saved_model.save(module, str(model.saved_model), signatures)
    document = {"signature": {"inputs": [column.to_json() for column in columns]}}
    (model.path / "training.json").write_text(json.dumps(document))
    return model


def save_by_row(folder: Path, weight: float, above_three: float | None = None) -> Model:
    """Export sigmoid(weight * (clicks - 1)); other columns are read and do not matter."""
    import tensorflow as tf

    def answer(clicks, attempts, gender):
        letters = tf.reduce_sum(tf.strings.length(gender), axis=1)
        unused = 0.0 * (tf.cast(letters, tf.float32) + tf.cast(attempts, tf.float32))
        likely = tf.sigmoid(weight * (clicks - 1.0)) + unused
        return likely if above_three is None else tf.where(clicks > 3.0, above_three, likely)

    return save(folder, "serving_default", [CLICKS, ATTEMPTS, GENDER], answer)


def save_by_step(folder: Path) -> Model:
    """Export 0.8 at a known skill, 0.2 at another, and 0.01 for each right answer before."""
    import tensorflow as tf

    def answer(skills, responses):
        known = tf.where(skills == "known", 0.8, 0.2)
        right = tf.cast(responses > 0, tf.float32)
        likely = known + 0.01 * tf.cumsum(right, axis=1, exclusive=True)
        return tf.where(skills == "", -1.0, likely)

    return save(folder, "every_step", [SKILLS, RESPONSES], answer)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "good": save_by_row(folder / "good", weight=1.0),
        "reversed": save_by_row(folder / "reversed", weight=-1.0),
        "broken": save_by_row(folder / "broken", 1.0, above_three=float("nan")),
        "by step": save_by_step(folder / "by_step"),
    }


def enrolments(rows: int, seed: int) -> pa.Table:
    """Draw raw rows whose labels follow sigmoid(clicks - 1): the good model is calibrated."""
    generator = np.random.default_rng(seed)
    clicks = generator.normal(1.0, 1.5, rows).astype(np.float32)
    failed = generator.random(rows) < 1.0 / (1.0 + np.exp(1.0 - clicks))
    gender = np.array(["F", "M", None], dtype=object)[generator.integers(0, 3, rows)]
    return pa.table(
        {
            "learner": [f"learner {number}" for number in range(rows)],
            "clicks": clicks,
            "attempts": generator.integers(0, 3, rows),
            "gender": pa.array(gender, pa.string()),
            "repeated": pa.array(clicks > 2.0),
            "failed": failed.astype(np.int64),
            "steps": [[0, 1]] * rows,
        }
    )


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    written = Examples.create(tmp_path_factory.mktemp("examples") / "examples")
    for seed, (split, rows) in enumerate(
        {"train": 2_000, "validation": 500, "test": 3_000}.items()
    ):
        written.write(split, enrolments(rows, seed))
    return Examples.open(written.path)


class Judged:
    """One call of the component, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.evaluation = Evaluation.create(folder / "evaluation")
        self.blessing = Blessing.create(folder / "blessing")
        self._context = Context.for_test(folder)

    def __call__(self, model, examples, champion=None, **parameters) -> None:
        quick = {"label": "failed", "permutations": 50, "resamples": 50}
        evaluate.function(
            model,
            examples,
            champion,
            self.evaluation,
            self.blessing,
            **{**quick, **parameters},
            context=self._context,
        )


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    return Judged(tmp_path)


def test_a_good_model_is_blessed_on_its_exported_answers(judged, models, examples) -> None:
    from sklearn.metrics import log_loss, roc_auc_score

    judged(models["good"], examples, slices=("gender", "gender*attempts"), protected=("gender",))
    assert judged.blessing.load() == {"blessed": True, "reasons": [], "warnings": []}
    document = judged.evaluation.load()
    test = examples.table("test")
    failed = test["failed"].to_numpy()
    expected = 1.0 / (1.0 + np.exp(1.0 - test["clicks"].to_numpy()))
    figures = document["metrics"]["test"]
    assert figures["auc"] == pytest.approx(roc_auc_score(failed, expected), abs=1e-6)
    assert figures["log_loss"] == pytest.approx(log_loss(failed, expected), abs=1e-6)
    assert {split: figures["rows"] for split, figures in document["metrics"].items()} == {
        "train": 2_000,
        "validation": 500,
        "test": 3_000,
    }
    assert [part["value"] for part in document["slices"][:3]] == ["(missing)", "F", "M"]
    assert document["fairness"][0]["column"] == "gender"
    assert document["label"] == "failed"


def test_predictions_lie_beside_and_name_nobody(judged, models, examples) -> None:
    judged(models["good"], examples)
    written = parquet.read_table(judged.evaluation.path / "predictions.parquet")
    assert written.column_names == ["label", "score"]
    test = examples.table("test")
    assert written["label"].to_pylist() == test["failed"].to_pylist()
    expected = 1.0 / (1.0 + np.exp(1.0 - test["clicks"].to_numpy()))
    np.testing.assert_allclose(written["score"].to_numpy(), expected, atol=1e-6)
    everything = (judged.evaluation.file.read_text(), judged.blessing.file.read_text())
    assert not any("learner" in text for text in everything)


def test_a_refused_model_has_its_blessing_and_evaluation_written(judged, models, examples) -> None:
    with pytest.raises(GateRefused) as refusal:
        judged(models["reversed"], examples)
    verdict = judged.blessing.load()
    assert not verdict["blessed"]
    assert list(refusal.value.reasons) == verdict["reasons"]
    assert refusal.value.where == "the model on the test split"
    assert refusal.value.next == "learnloop show by-hand"
    figures = judged.evaluation.load()["metrics"]["test"]
    low, high = figures["auc_interval"]
    assert verdict["reasons"] == [
        f"The AUC on test is {figures['auc']:.3f} (95 % interval {low:.3f} to {high:.3f});"
        " at least 0.700 is required.",
        f"The calibration error (ECE) on test is {figures['ece']:.3f}; at most 0.100 is allowed.",
    ]


def test_answers_that_are_no_probabilities_refuse_the_model(judged, models, examples) -> None:
    with pytest.raises(GateRefused) as refusal:
        judged(models["broken"], examples)
    many = {
        name: int((examples.table(name)["clicks"].to_numpy() > 3.0).sum())
        for name in examples.names
    }
    assert list(refusal.value.reasons) == [
        f"The model's answers on {name} are no probabilities:"
        f" {many[name]:,} of {rows:,} not finite."
        for name, rows in examples.counts.items()
    ]
    assert judged.blessing.load()["reasons"] == list(refusal.value.reasons)
    assert judged.evaluation.load()["metrics"] == {}


def test_the_champion_is_asked_the_same_rows(judged, models, examples) -> None:
    judged(models["good"], examples, models["reversed"])
    champion = judged.evaluation.load()["champion"]
    auc = champion["auc"]
    assert champion["rows"] == 3_000
    assert auc["champion"] == pytest.approx(1.0 - auc["challenger"], abs=1e-6)
    assert auc["probability_better"] == 1.0
    assert "champion_roc" in judged.evaluation.load()["curves"]


def test_a_challenger_below_the_champion_is_refused(judged, models, examples) -> None:
    with pytest.raises(GateRefused, match=r"below the champion's on the same 3,000 rows"):
        judged(models["reversed"], examples, models["good"], min_auc=0.0, max_ece=1.0)


def test_a_champion_that_cannot_answer_is_noted(judged, models, examples) -> None:
    judged(models["good"], examples, models["by step"])
    assert judged.evaluation.load()["champion"] is None
    assert judged.blessing.load() == {
        "blessed": True,
        "reasons": [],
        "warnings": [
            "The champion could not be asked: The model does not answer what the label asks."
        ],
    }


def test_a_second_figure_leaves_rows_out(judged, models, examples) -> None:
    judged(models["good"], examples, without="repeated")
    document = judged.evaluation.load()
    left_out = int(examples.table("test")["repeated"].to_numpy().sum())
    assert document["without"]["rows_left_out"] == left_out
    assert document["without"]["rows"] == 3_000 - left_out
    assert document["without"]["auc"] < document["metrics"]["test"]["auc"]


def test_the_same_seed_gives_the_same_document(tmp_path, models, examples) -> None:
    documents = []
    for name in ("first", "again"):
        judged = Judged(tmp_path / name)
        (tmp_path / name).mkdir(exist_ok=True)
        judged(models["good"], examples, models["reversed"], protected=("gender",), seed=3)
        documents.append(json.dumps(judged.evaluation.load()))
    assert documents[0] == documents[1]


def sequences() -> pa.Table:
    """Two learners of three steps and one; the first step has no answer, nor has one later."""
    return pa.table(
        {
            "skills": [["known", "known", "new"], ["new"], ["new", "known", "new", "known"]],
            "responses": [[1, 1, 0], [0], [0, 1, 1, 1]],
            "correct": [[-1, 1, 0], [-1], [-1, 1, -1, 1]],
            "repeated": [[False, True, False], [False], [False, False, False, True]],
        }
    )


def test_every_step_is_judged_and_unknown_ones_are_left_out(judged, models, tmp_path) -> None:
    examples = Examples.create(tmp_path / "steps")
    examples.write("test", sequences())
    judged(
        models["by step"],
        examples,
        label="correct",
        slices=("skills",),
        minimum_rows=1,
        without="repeated",
        max_ece=1.0,
    )
    written = parquet.read_table(judged.evaluation.path / "predictions.parquet")
    assert written["label"].to_pylist() == [1, 0, 1, 1]
    np.testing.assert_allclose(written["score"], [0.81, 0.22, 0.80, 0.82], atol=1e-6)
    document = judged.evaluation.load()
    assert document["metrics"]["test"]["auc"] == 1.0
    assert [(part["value"], part["rows"]) for part in document["slices"]] == [
        ("known", 3),
        ("new", 1),
    ]
    assert document["without"]["rows"] == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"label": "fialed"},
            "The examples have no column 'fialed'.\n"
            "  where:    split test\n"
            "  expected: did you mean 'failed'?\n"
            "  received: fialed",
        ),
        (
            {"slices": ("gender*regoin",)},
            "The examples have no column 'regoin'.\n"
            "  where:    split test\n"
            "  expected: one of attempts, clicks, failed, gender, learner, repeated, steps\n"
            "  received: regoin",
        ),
        (
            {"judged": "tset"},
            "There is no split 'tset' to judge the model by.\n"
            "  expected: did you mean 'test'?\n"
            "  received: tset",
        ),
        (
            {"permutations": 0},
            "Nothing can be said from no permutations.\n"
            "  where:    parameter 'permutations'\n"
            "  expected: at least 1; 1,000 for figures to rely on\n"
            "  received: 0",
        ),
        (
            {"label": "steps"},
            "The model does not answer what the label asks.\n"
            "  where:    label 'steps'\n"
            "  expected: a model that answers at every step of a row\n"
            "  received: one that answers once a row",
        ),
    ],
)
def test_bad_usage_is_answered(judged, models, examples, parameters, message) -> None:
    with pytest.raises(UsageError) as refusal:
        judged(models["good"], examples, **parameters)
    assert str(refusal.value) == message


def test_a_model_reading_a_column_that_is_not_there(judged, models, tmp_path) -> None:
    examples = Examples.create(tmp_path / "narrow")
    examples.write("test", enrolments(50, seed=1).drop(["clicks"]))
    with pytest.raises(UsageError) as refusal:
        judged(models["good"], examples)
    assert str(refusal.value) == (
        "The examples have no column 'clicks'.\n"
        "  where:    split test\n"
        "  expected: one of attempts, failed, gender, learner, repeated, steps\n"
        "  received: clicks"
    )


def test_a_missing_label_is_refused(judged, models, tmp_path) -> None:
    table = enrolments(50, seed=1).drop(["failed"])
    examples = Examples.create(tmp_path / "unlabelled")
    examples.write("test", table.append_column("failed", pa.array([0] * 47 + [None] * 3)))
    with pytest.raises(UsageError) as refusal:
        judged(models["good"], examples)
    assert str(refusal.value) == (
        "The label 'failed' is missing in some rows.\n"
        "  expected: 0 or 1, or a value below 0 where the truth is not known\n"
        "  received: 3 nulls"
    )


def test_a_label_that_is_not_0_or_1_is_refused(judged, models, tmp_path) -> None:
    table = enrolments(50, seed=1).drop(["failed"])
    examples = Examples.create(tmp_path / "graded")
    examples.write("test", table.append_column("failed", pa.array([0, 1] * 20 + [3] * 10)))
    with pytest.raises(UsageError) as refusal:
        judged(models["good"], examples)
    assert str(refusal.value) == (
        "A label is neither 0 nor 1.\n"
        "  where:    test row 40\n"
        "  expected: 0 or 1 in every row\n"
        "  received: 3 (10 such rows)"
    )


def test_rows_of_one_learner_count_together(tmp_path, models, examples) -> None:
    """Nine rows of each learner: an interval as wide as the learners allow, and no learner told."""
    alone = examples.table("test")
    repeated = Examples.create(tmp_path / "repeated")
    repeated.write("test", pa.concat_tables([alone] * 9))
    widths = []
    for name, data, learner in (
        ("alone", examples, ""),
        ("apart", repeated, ""),
        ("together", repeated, "learner"),
    ):
        (tmp_path / name).mkdir()
        once = Judged(tmp_path / name)
        once(models["good"], data, learner=learner)
        low, high = once.evaluation.load()["metrics"]["test"]["auc_interval"]
        widths.append(high - low)
        assert "learner 7" not in once.evaluation.file.read_text()
    assert widths[1] == pytest.approx(widths[0] / 3, rel=0.02)
    assert widths[2] == pytest.approx(widths[0], rel=0.02)
