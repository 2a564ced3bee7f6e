"""Training as a whole: equal from equal seeds, stopped early, gone on with after a kill."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from components.engines.training.digest import digest_weights
from components.engines.training.features import describe_features
from components.engines.training.fit import Recipe, build, fit, predict
from components.engines.training.packing import pack
from components.engines.training.scores import log_loss
from components.engines.training.streaming import StreamedExamples, open_examples
from learnloop.errors import LearnLoopError, UsageError
from tests.components.engines.training import resumed
from tests.components.engines.training.models import (
    dense_model,
    rows_table,
    sequences_table,
    step_model,
)

pytestmark = pytest.mark.xdist_group("training")

ROOT = Path(__file__).parents[4]


def dense(seed: int = 1, **hyperparameters):
    features = describe_features(rows_table(1).schema, ["failed"])
    return build(lambda: dense_model(features, **hyperparameters), seed)


def test_a_killed_training_goes_on_and_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    command = [sys.executable, resumed.__file__, str(tmp_path)]
    environment = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as killed:
        for line in killed.stdout:
            if line == "epoch 5\n":
                killed.kill()
                break
    assert killed.returncode == -9
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    *epochs, digest = again.stdout.splitlines()
    assert epochs[0] in ("epoch 6", "epoch 7")
    assert epochs[-1] == "epoch 12"
    assert digest == f"digest {resumed.training(None, None)}"


def test_a_finished_training_is_not_repeated(tmp_path):
    seen = []
    first = resumed.training(tmp_path, seen.append)
    second = resumed.training(tmp_path, seen.append)
    assert first == second
    assert [report.epoch for report in seen] == list(range(1, 13))


def test_a_checkpoint_of_another_training_is_left_alone(tmp_path):
    train = pack(rows_table(100), label="failed")
    for rate in (0.1, 0.2):
        seen = []
        fit(dense(), train, None, Recipe(3, 32, rate), scratch=tmp_path, report=seen.append)
        assert [report.epoch for report in seen] == [1, 2, 3]


def test_a_damaged_checkpoint_costs_time_and_nothing_else(tmp_path):
    first = resumed.training(tmp_path, None)
    (checkpoint,) = tmp_path.iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-500])
    seen = []
    assert resumed.training(tmp_path, seen.append) == first
    assert [report.epoch for report in seen] == list(range(1, 13))


@pytest.mark.parametrize(
    ("table", "label", "builder"),
    [(rows_table(300), "failed", dense_model), (sequences_table(60), "correct", step_model)],
)
def test_equal_seeds_give_equal_weights_and_others_do_not(table, label, builder):
    features = describe_features(table.schema, [label])
    digests = []
    for seed in (4, 4, 5):
        model = build(lambda: builder(features), seed)
        fit(model, pack(table, label=label), None, Recipe(epochs=2, batch_size=16, seed=seed))
        digests.append(digest_weights(model))
    assert digests[0] == digests[1] != digests[2]


def test_trainings_side_by_side_end_as_alone():
    def digest(seed: int) -> str:
        model = dense(seed, dropout=0.2)
        fit(model, pack(rows_table(200), label="failed"), None, Recipe(3, 16, seed=seed))
        return digest_weights(model)

    alone = [digest(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(digest, (1, 2))) == alone


def test_the_order_of_columns_in_the_table_does_not_matter():
    table = rows_table(100)
    digests = []
    for names in (table.column_names, sorted(table.column_names, reverse=True)):
        model = dense()
        fit(model, pack(table.select(names), label="failed"), None, Recipe(2, 32))
        digests.append(digest_weights(model))
    assert digests[0] == digests[1]


def test_the_best_weights_are_kept_and_training_stops_when_patience_ends():
    train = pack(rows_table(60), label="failed")
    validation = pack(rows_table(400, seed=1), label="failed")
    model = dense(units=64)
    recipe = Recipe(epochs=200, batch_size=8, learning_rate=0.02, patience=4)
    reports = []
    outcome = fit(model, train, validation, recipe, report=reports.append)
    curve = outcome.curves["validation_loss"]
    assert outcome.best_epoch == 1 + int(np.argmin(curve))
    assert len(curve) == outcome.best_epoch + 4 < 200
    known = validation.column("failed")
    assert log_loss(known, predict(model, validation)) == pytest.approx(min(curve), abs=1e-9)
    assert [report.scores["validation_loss"] for report in reports] == curve
    assert all(report.rows_per_second > 0 and report.epochs == 200 for report in reports)


def test_without_validation_every_epoch_runs_and_the_last_is_kept():
    outcome = fit(dense(), pack(rows_table(50), label="failed"), None, Recipe(7, 16, patience=2))
    assert outcome.best_epoch == 7
    assert list(outcome.curves) == ["loss"]


def test_a_compiled_model_keeps_its_optimizer_and_loss():
    import keras

    train = pack(rows_table(100), label="failed")
    model = dense()
    start = model.get_weights()
    model.compile(keras.optimizers.SGD(0.0), keras.losses.BinaryFocalCrossentropy(gamma=0.0))
    fit(model, train, None, Recipe(epochs=1, learning_rate=1.0))
    for before, after in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_loss_over_logits_is_refused():
    import keras

    model = dense()
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    with pytest.raises(UsageError) as refusal:
        fit(model, pack(rows_table(10), label="failed"))
    assert refusal.value.what == "The model was compiled with a loss that cannot be used."
    assert refusal.value.next == (
        "end the model in a sigmoid and compile it with keras.losses.BinaryCrossentropy()"
    )


def test_a_builder_that_returns_no_model_with_inputs_is_refused():
    import keras

    with pytest.raises(UsageError) as refusal:
        build(lambda: keras.Sequential([keras.layers.Dense(1)]), seed=1)
    assert str(refusal.value) == (
        "The model builder did not return a Keras 3 model with named inputs.\n"
        "  where:    train\n"
        "  expected: keras.Model(inputs, outputs), the inputs named after transformed columns\n"
        "  received: keras.src.models.sequential.Sequential\n"
        "  next:     wrap the layers: keras.Model(inputs, network(inputs)), of keras, not tf_keras"
    )


def test_a_loss_that_is_no_number_stops_the_training():
    with pytest.raises(LearnLoopError) as fault:
        fit(dense(), pack(rows_table(640), label="failed"), None, Recipe(learning_rate=1e38))
    assert str(fault.value) == (
        "The training loss stopped being a number.\n"
        "  where:    train, epoch 1\n"
        "  expected: a finite loss\n"
        "  received: nan\n"
        "  next:     lower learning_rate, set clip_norm, or scale the features in preprocessing_fn"
    )


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_without_a_known_label_is_refused(split):
    table = rows_table(20)
    unknown = pack(table.set_column(3, "failed", pa.array([-1] * 20)), label="failed")
    splits = {"train": pack(table, label="failed"), "validation": None, split: unknown}
    with pytest.raises(UsageError) as refusal:
        fit(dense(), **splits)
    assert str(refusal.value) == (
        "There is no row with a known label.\n"
        f"  where:    train, split {split}\n"
        "  expected: labels of 0 and 1\n"
        "  received: only labels below 0, weights of 0, or no rows\n"
        "  next:     look at the transformed examples and the label preprocessing_fn returns"
    )


def test_a_recipe_of_no_epochs_is_refused():
    with pytest.raises(UsageError) as refusal:
        Recipe(epochs=0)
    assert str(refusal.value) == (
        "'epochs' must be at least 1.\n  where:    train\n  expected: 1 or more\n  received: 0"
    )


def test_examples_too_large_for_memory_are_streamed_to_the_same_end(tmp_path):
    table = rows_table(4_000)
    parquet.write_table(table, tmp_path / "train.parquet", row_group_size=250)
    held = open_examples(tmp_path / "train.parquet", label="failed")
    assert held.rows == 4_000
    assert held.chunks.__self__.column("clicks").tolist() == table["clicks"].to_pylist()
    streamed = open_examples(tmp_path / "train.parquet", label="failed", memory_bytes=50_000)
    assert streamed == StreamedExamples(tmp_path / "train.parquet", "failed")
    streamed = StreamedExamples(tmp_path / "train.parquet", "failed", chunk_rows=1_000)
    chunks = list(streamed.chunks(np.random.default_rng(1)))
    assert [chunk.rows for chunk in chunks] == [1_000] * 4
    seen = np.concatenate([chunk.column("clicks") for chunk in chunks])
    assert sorted(seen.tolist()) == sorted(table["clicks"].to_pylist())
    losses = []
    for train in (held, streamed):
        outcome = fit(dense(), train, train, Recipe(epochs=4, batch_size=64, learning_rate=0.01))
        losses.append(outcome.curves["validation_loss"])
    assert losses[0][-1] < 0.45
    assert losses[0][-1] == pytest.approx(losses[1][-1], abs=0.02)
