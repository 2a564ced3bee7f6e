"""The hot loop: a whole epoch of a Keras model in one compiled TensorFlow function.

Keras' `fit` returns to Python for every batch; on small models that is most of the time. Here the
epoch is one `tf.while_loop`: take a batch of row numbers, read it from the packed blocks, forward,
backward, apply. Any Keras 3 model with named inputs trains in it unchanged: loss and optimizer come
from its `compile` when it has been compiled.

The loss of a batch is the weighted sum over its labelled answers, divided by the epoch's mean of
labelled weight per batch. Every answer then weighs the same in an epoch, however long the sequence
or full the batch it sits in; with equal batches this is the ordinary mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from components.engines.training.batches import (
    BatchPlan,
    batches_by_length,
    place,
    read_batch,
)
from components.engines.training.packing import PackedExamples
from learnloop.errors import UsageError, closest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    from components.engines.training.batches import BlockTensors


class TrainingLoop:
    """One model, compiled to train and to predict on packed examples of one layout.

    Args:
        model: A Keras 3 model whose inputs carry the names of transformed columns and whose output
            is one probability a row (`[batch]` or `[batch, 1]`) or a step (`[batch, time]` or
            `[batch, time, 1]`).
        examples: Examples in the layout that will be trained on (validation must share it).
        optimizer: The optimizer to apply.
        loss: A Keras loss over one probability.
    """

    def __init__(
        self,
        model: keras.Model,
        examples: PackedExamples,
        optimizer: keras.optimizers.Optimizer,
        loss: keras.losses.Loss,
    ) -> None:
        import tensorflow as tf

        check_inputs(model, [feature.name for feature in examples.features])
        self.model = model
        self.optimizer = optimizer
        self._loss = loss
        self._blocks = examples.blocks
        self._label = examples.label
        self._weight = examples.weight
        self._is_per_step = examples.is_per_step
        optimizer.build(model.trainable_variables)
        layout = tuple(
            tuple(tf.TensorSpec([None, *array.shape[1:]], array.dtype) for array in block.arrays)
            for block in examples.blocks
        )
        rows = tf.TensorSpec([None], tf.int32)
        scalar = tf.TensorSpec([], tf.float32)
        self._epoch = tf.function(
            self._run_epoch, input_signature=[layout, rows, rows, scalar], autograph=False
        )
        self._forward = tf.function(
            self._run_forward, input_signature=[layout, rows], autograph=False
        )

    def train(self, examples: PackedExamples, plan: BatchPlan) -> tuple[float, float]:
        """Train on every batch of the plan.

        Returns:
            The loss summed over all labelled answers, as the weights moved, and their weight.
        """
        weight = labelled_weight(examples)
        if not weight:
            return 0.0, 0.0
        per_batch = np.float32(weight / plan.batches)
        loss = self._epoch(place(examples), plan.order, plan.bounds, per_batch)
        return float(loss), weight

    def predict(self, examples: PackedExamples) -> NDArray[np.float32]:
        """Predict all examples.

        Returns:
            Probabilities in the label's shape: `[rows]`, `[rows, k]`, or `[tokens]` end to end.
        """
        known = examples.column(examples.label)
        answers = np.empty(known.shape, np.float32)
        splits = examples.splits(examples.label)
        tensors = place(examples)
        for rows in batches_by_length(examples.lengths):
            output = self._forward(tensors, rows.astype(np.int32)).numpy()
            if splits is None:
                answers[rows] = output
                continue
            step = np.arange(output.shape[1])
            inside = step < np.diff(splits)[rows, None]
            answers[(splits[rows, None] + step)[inside]] = output[inside]
        return answers

    def _run_epoch(
        self,
        tensors: tuple[BlockTensors, ...],
        order: tf.Tensor,
        bounds: tf.Tensor,
        weight_per_batch: tf.Tensor,
    ) -> tf.Tensor:
        import tensorflow as tf

        def step(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = order[bounds[index] : bounds[index + 1]]
            batch = read_batch(self._blocks, tensors, rows)
            with tf.GradientTape() as tape:
                answer = self.model(model_inputs(self.model, batch), training=True)
                loss = self._batch_loss(batch, answer)
                objective = tf.add_n([loss / weight_per_batch, *self.model.losses])
            gradients = tape.gradient(objective, self.model.trainable_variables)
            self.optimizer.apply(gradients, self.model.trainable_variables)
            return index + 1, total + tf.cast(loss, tf.float64)

        batches = tf.shape(bounds)[0] - 1
        _, total = tf.while_loop(
            lambda index, _: index < batches,
            step,
            (tf.constant(0), tf.constant(0.0, tf.float64)),
            parallel_iterations=1,
        )
        return total

    def _batch_loss(self, batch: Mapping[str, tf.Tensor], answer: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        known = batch[self._label]
        weight = tf.cast(known >= 0, tf.float32)
        if self._weight is not None:
            weight *= batch[self._weight]
        if self._is_per_step:
            known = known[..., None]
        if len(answer.shape) < len(known.shape):
            answer = answer[..., None]
        each = self._loss.call(tf.maximum(known, 0.0), answer)
        return tf.reduce_sum(tf.reshape(each, [-1]) * tf.reshape(weight, [-1]))

    def _run_forward(self, tensors: tuple[BlockTensors, ...], rows: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        batch = read_batch(self._blocks, tensors, rows)
        answer = self.model(model_inputs(self.model, batch), training=False)
        return tf.reshape(answer, tf.shape(answer)[: 2 if self._is_per_step else 1])


def labelled_weight(examples: PackedExamples) -> float:
    """Return the sum of weights over all answers that are known."""
    known = examples.column(examples.label) >= 0
    if examples.weight is None:
        return float(np.count_nonzero(known))
    return float(np.sum(examples.column(examples.weight), where=known, dtype=np.float64))


def model_inputs(model: keras.Model, batch: Mapping[str, tf.Tensor]) -> object:
    """Arrange columns as the model takes its inputs, in its shapes and dtypes.

    Args:
        model: The model; an input's name is the column's name.
        batch: Columns by name, `[batch, width]` or `[batch, time]`.

    Returns:
        Tensors in the structure (one, list or dict) that the model was built with.
    """
    import keras
    import tensorflow as tf

    def feed(tensor: keras.KerasTensor) -> tf.Tensor:
        value = tf.cast(batch[tensor.name], tensor.dtype)
        if len(tensor.shape) == 1:
            return value[:, 0]
        return value[..., None] if len(tensor.shape) == 3 else value

    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(feed, structure)


def check_inputs(model: keras.Model, columns: Collection[str]) -> None:
    """Refuse a model with an input that no transformed column feeds.

    Args:
        model: The model.
        columns: The transformed columns that a model may read.

    Raises:
        UsageError: Naming the input.
    """
    for tensor in model.inputs:
        if tensor.name not in columns:
            raise UsageError(
                f"The model's input '{tensor.name}' is no transformed column.",
                where="train",
                expected=closest(tensor.name, columns),
                received=repr(tensor.name),
                next="name the model's inputs after the columns that preprocessing_fn returns",
            )
