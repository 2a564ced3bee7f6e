"""The loop against Keras itself, and what labels below zero, weights or padding may not change."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from components.engines.training.batches import BatchPlan, shuffled_batches
from components.engines.training.features import describe_features
from components.engines.training.fit import build, predict
from components.engines.training.loop import TrainingLoop
from components.engines.training.packing import pack
from learnloop.errors import UsageError
from tests.components.engines.training.models import (
    dense_model,
    rows_table,
    sequences_table,
    step_model,
)

pytestmark = pytest.mark.xdist_group("training")


def new_model(table, label, builder=dense_model):
    features = describe_features(table.schema, [label, "weight"])
    return build(lambda: builder(features), seed=3)


def trained_weights(table, label, builder=dense_model, *, plan=None, weight=None):
    """One epoch in one order; sequences in batches of 16."""
    import keras

    examples = pack(table, label=label, weight=weight)
    model = new_model(table, label, builder)
    loss = keras.losses.BinaryCrossentropy()
    loop = TrainingLoop(model, examples, keras.optimizers.SGD(0.5), loss)
    total, known = loop.train(
        examples, plan or shuffled_batches(examples, 16, np.random.default_rng(0))
    )
    return model.get_weights(), total / known


def assert_equal_weights(left, right):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_an_epoch_equals_keras_training_batch_by_batch():
    import keras

    table = rows_table(96)
    order = np.random.default_rng(5).permutation(96).astype(np.int32)
    plan = BatchPlan(order, np.arange(0, 97, 16, dtype=np.int32))
    weights, loss = trained_weights(table, "failed", plan=plan)
    model = new_model(table, "failed")
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy")
    losses = []
    for rows in order.reshape(6, 16):
        batch = {
            name: table[name].to_numpy()[rows][:, None] for name in ("clicks", "days", "noise")
        }
        losses.append(model.train_on_batch(batch, table["failed"].to_numpy()[rows][:, None]))
        model.reset_metrics()
    assert_equal_weights(weights, model.get_weights())
    assert loss == pytest.approx(np.mean(losses), abs=1e-6)


def test_unlabelled_rows_teach_nothing():
    table = rows_table(64)
    label = table["failed"].to_numpy().copy()
    label[::3] = -1
    masked = table.set_column(3, "failed", pa.array(label))
    changed = masked.set_column(0, "clicks", pa.array(np.where(label < 0, 9.0, table["clicks"])))
    weights, loss = trained_weights(masked, "failed")
    others, other_loss = trained_weights(changed, "failed")
    assert_equal_weights(weights, others)
    assert loss == pytest.approx(other_loss, abs=1e-6)


def test_a_weight_of_zero_is_as_no_label_and_weights_scale_the_loss():
    table = rows_table(64)
    weight = np.ones(64, np.float32)
    weight[::3] = 0
    weighted = table.append_column("weight", pa.array(weight))
    label = table["failed"].to_numpy().copy()
    label[::3] = -1
    masked = table.set_column(3, "failed", pa.array(label))
    weights, loss = trained_weights(weighted, "failed", weight="weight")
    others, other_loss = trained_weights(masked, "failed")
    assert_equal_weights(weights, others)
    assert loss == pytest.approx(other_loss, abs=1e-6)


def test_steps_in_padded_batches_teach_as_one_row_at_a_time():
    """Plain SGD on one batch of all rows: its gradient is the sum over rows alone."""
    table = sequences_table(2)
    everything = BatchPlan(np.arange(2, dtype=np.int32), np.asarray([0, 2], np.int32))
    weights, loss = trained_weights(table, "correct", step_model, plan=everything)
    start = new_model(table, "correct", step_model).get_weights()
    total = pack(table, label="correct").splits("correct")[-1]
    sums = [np.zeros_like(weight) for weight in start]
    for row in range(2):
        one = table.slice(row, 1)
        alone, _ = trained_weights(one, "correct", step_model)
        steps = len(one["correct"][0])
        sums = [s + (a - b) * steps / total for s, a, b in zip(sums, alone, start, strict=True)]
    assert_equal_weights(weights, [b + s for b, s in zip(start, sums, strict=True)])
    assert 0.6 < loss < 0.8


def test_lists_of_one_fixed_length_teach_as_lists_of_any_length():
    skills, correct = [[1, 2, 3], [4, 5, 6]] * 8, [[0, 1, -1], [1, 1, 0]] * 8
    table = pa.table({"skills": skills, "correct": correct})
    kind = pa.list_(pa.int64(), 3)
    fixed = pa.table({"skills": pa.array(skills, kind), "correct": pa.array(correct, kind)})
    plan = BatchPlan(np.arange(16, dtype=np.int32), np.asarray([0, 8, 16], np.int32))
    weights, loss = trained_weights(table, "correct", step_model, plan=plan)
    others, other_loss = trained_weights(fixed, "correct", step_model, plan=plan)
    assert_equal_weights(weights, others)
    assert loss == pytest.approx(other_loss, abs=1e-6)
    model = new_model(fixed, "correct", step_model)
    assert predict(model, pack(fixed, label="correct")).shape == (16, 3)


def test_predictions_do_not_depend_on_the_batch_a_sequence_is_in():
    table = sequences_table(60)
    model = new_model(table, "correct", step_model)
    together = predict(model, pack(table, label="correct"))
    halves = [predict(model, pack(table.slice(at, 30), label="correct")) for at in (0, 30)]
    np.testing.assert_allclose(together, np.concatenate(halves), rtol=0, atol=1e-6)


@pytest.mark.parametrize("as_list", [True, False])
def test_models_of_list_and_sequential_form_are_fed_by_name(as_list):
    import keras

    table = rows_table(32)

    def builder():
        if not as_list:
            return keras.Sequential(
                [keras.Input((1,), name="days"), keras.layers.Dense(1, activation="sigmoid")]
            )
        inputs = [keras.Input((), name="days"), keras.Input((1,), name="clicks")]
        days = keras.layers.Reshape((1,))(inputs[0])
        joined = keras.layers.Concatenate()([days, inputs[1]])
        return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(joined))

    model = build(builder, seed=1)
    answers = predict(model, pack(table, label="failed"))
    values = [table[tensor.name].to_numpy() for tensor in model.inputs]
    fed = values[0][:, None] if not as_list else [values[0], values[1][:, None]]
    expected = model.predict(fed, verbose=0)[:, 0]
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)


def test_an_input_that_no_column_feeds_is_refused():
    import keras

    table = rows_table(8)
    inputs = keras.Input((1,), name="click")
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
    with pytest.raises(UsageError) as refusal:
        predict(model, pack(table, label="failed"))
    assert str(refusal.value) == (
        "The model's input 'click' is no transformed column.\n"
        "  where:    train\n"
        "  expected: did you mean 'clicks'?\n"
        "  received: 'click'\n"
        "  next:     name the model's inputs after the columns that preprocessing_fn returns"
    )


def test_epochs_of_any_size_run_in_one_graph_traced_once(monkeypatch):
    """The speed of the loop, counted: Python is entered once a chunk, and only the first traces."""
    import keras

    examples = [pack(rows_table(rows), label="failed") for rows in (96, 40, 200)]
    calls = []
    model = new_model(rows_table(1), "failed")
    call = type(model).__call__
    monkeypatch.setattr(type(model), "__call__", lambda *a, **k: calls.append(1) or call(*a, **k))
    optimizer, loss = keras.optimizers.SGD(0.1), keras.losses.BinaryCrossentropy()
    loop = TrainingLoop(model, examples[0], optimizer, loss)
    for chunk in examples:
        loop.train(chunk, shuffled_batches(chunk, 16, np.random.default_rng(0)))
    assert int(optimizer.iterations.numpy()) == 6 + 3 + 13
    assert len(calls) == 1
