"""Training from the first epoch to the best weights: stop early, survive a kill, tell how it goes.

Every epoch is a pure function of the state before it, the seed and the epoch's number. So a
training that is killed and called again with the same scratch folder goes on from its last
checkpoint and ends with the weights that an uninterrupted one reaches, bit for bit. Equal weights
from run to run hold on a CPU with the same number of threads (a sum split otherwise rounds
otherwise).
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from components.engines.training.batches import shuffled_batches
from components.engines.training.checkpoint import Checkpoint, Progress
from components.engines.training.loop import TrainingLoop
from components.engines.training.packing import PackedExamples
from components.engines.training.scores import area_under_curve, log_loss
from components.engines.training.streaming import StreamedExamples
from learnloop.errors import LearnLoopError, UsageError

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

AnyExamples = PackedExamples | StreamedExamples

_SEEDING = threading.Lock()
"""Keras draws initial seeds from Python's one global generator: one model is built at a time."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    A model that its builder compiled keeps its own optimizer and loss; `learning_rate`, `schedule`
    and `clip_norm` then say nothing.

    Attributes:
        epochs: The most passes over the data.
        batch_size: Rows in a batch.
        learning_rate: Of Adam.
        schedule: `constant`, or `cosine`: falls to zero over all epochs.
        clip_norm: The longest gradient (global norm), None for any.
        patience: Stop after this many epochs without a better validation score.
        monitor: The validation score that decides: `loss` or `auc`.
        seed: Of the order of batches (and, through `build`, of the initial weights).
    """

    epochs: int = 40
    batch_size: int = 256
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: float | None = None
    patience: int = 5
    monitor: Literal["loss", "auc"] = "loss"
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"'{name}' must be at least 1.",
                    where="train",
                    expected="1 or more",
                    received=getattr(self, name),
                )


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did.

    Attributes:
        epoch: Its number, from 1.
        epochs: The most there will be.
        scores: `loss`, the mean over all labelled answers as the weights moved; and where there is
            a validation split, `validation_loss` and `validation_auc`.
        seconds: Wall time of the epoch, validation included.
        rows_per_second: Training rows over that time.
    """

    epoch: int
    epochs: int
    scores: dict[str, float]
    seconds: float
    rows_per_second: float


@dataclass(frozen=True)
class Outcome:
    """How a training went; the model it was given now holds the best weights.

    Attributes:
        best_epoch: The epoch, from 1, whose weights the model holds.
        curves: The scores of `EpochReport` by name, one value an epoch.
        seconds: Wall time of all epochs, those before a kill included.
    """

    best_epoch: int
    curves: dict[str, list[float]] = field(repr=False)
    seconds: float


def build(builder: Callable[[], keras.Model], seed: int) -> keras.Model:
    """Call a model builder so that the same seed gives the same weights and layer names.

    Args:
        builder: Returns a Keras 3 model.
        seed: Of Python's, numpy's and TensorFlow's generators.

    Returns:
        The model, with named inputs.

    Raises:
        UsageError: If the builder returns something else, or a model without inputs.
    """
    import keras
    from keras.src.utils.naming import reset_uids

    with _SEEDING:
        reset_uids()
        state = random.getstate()
        keras.utils.set_random_seed(seed)
        model = builder()
        random.setstate(state)
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise UsageError(
            "The model builder did not return a Keras 3 model with named inputs.",
            where="train",
            expected="keras.Model(inputs, outputs), the inputs named after transformed columns",
            received=f"{type(model).__module__}.{type(model).__name__}",
            next="wrap the layers: keras.Model(inputs, network(inputs)), of keras, not tf_keras",
        )
    return model


def fit(
    model: keras.Model,
    train: AnyExamples,
    validation: AnyExamples | None = None,
    recipe: Recipe | None = None,
    *,
    scratch: Path | None = None,
    report: Callable[[EpochReport], None] | None = None,
) -> Outcome:
    """Train a model and leave the best weights in it.

    Args:
        model: With inputs named after columns, one probability a row or a step as output.
        train: Training examples, in memory or streamed.
        validation: Validation examples; without them every epoch runs and the last is kept.
        recipe: How to train.
        scratch: A folder kept across kills; without it nothing is checkpointed.
        report: Called after each epoch.

    Returns:
        Curves, best epoch and seconds.

    Raises:
        UsageError: If the model's inputs or loss do not fit the examples, or no label is known.
        LearnLoopError: If the loss stops being a number.
    """
    recipe = recipe or Recipe()
    optimizer, loss = _optimizer_and_loss(model, train, recipe)
    loop = TrainingLoop(model, next(train.chunks()), optimizer, loss)
    checkpoint = Checkpoint.of(scratch, model, optimizer, {**asdict(recipe), "rows": train.rows})
    progress = checkpoint.restore()
    while not _is_over(progress, recipe):
        started = time.perf_counter()
        scores = {"loss": _train(loop, train, recipe, progress.epoch)}
        scores |= _validate(loop, validation)
        if not math.isfinite(scores["loss"]):
            raise _diverged(progress.epoch + 1, scores["loss"])
        seconds = time.perf_counter() - started
        progress = progress.after(scores, _merit(scores, recipe.monitor), seconds, model)
        checkpoint.save(progress, is_last=_is_over(progress, recipe))
        if report is not None:
            rate = train.rows / seconds
            report(EpochReport(progress.epoch, recipe.epochs, scores, seconds, rate))
    model.set_weights(progress.best_weights)
    return Outcome(progress.best_epoch, progress.curves, progress.seconds)


def predict(model: keras.Model, examples: PackedExamples) -> NDArray[np.float32]:
    """Predict packed examples, in the shape of their label: `[rows]`, `[rows, k]` or `[tokens]`."""
    import keras

    loss = keras.losses.BinaryCrossentropy()
    return TrainingLoop(model, examples, keras.optimizers.SGD(), loss).predict(examples)


def _optimizer_and_loss(
    model: keras.Model, train: AnyExamples, recipe: Recipe
) -> tuple[keras.optimizers.Optimizer, keras.losses.Loss]:
    import keras

    if not model.compiled:
        steps = recipe.epochs * math.ceil(train.rows / recipe.batch_size)
        rate: object = recipe.learning_rate
        if recipe.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
        adam = keras.optimizers.Adam(rate, global_clipnorm=recipe.clip_norm)
        return adam, keras.losses.BinaryCrossentropy()
    loss = keras.losses.get(model.loss)
    if getattr(loss, "from_logits", False) or not isinstance(loss, keras.losses.Loss):
        raise UsageError(
            "The model was compiled with a loss that cannot be used.",
            where="train",
            expected="a keras.losses.Loss over one probability, such as BinaryCrossentropy()",
            received=repr(model.loss),
            next="end the model in a sigmoid and compile it with keras.losses.BinaryCrossentropy()",
        )
    return model.optimizer, loss


def _train(loop: TrainingLoop, train: AnyExamples, recipe: Recipe, epoch: int) -> float:
    """Train one epoch in an order that only seed and epoch decide; return the mean loss."""
    generator = np.random.default_rng([recipe.seed, epoch])
    losses, weights = [], []
    for chunk in train.chunks(generator):
        loss, weight = loop.train(chunk, shuffled_batches(chunk, recipe.batch_size, generator))
        losses.append(loss)
        weights.append(weight)
    if not sum(weights):
        raise _nothing_labelled("train")
    return sum(losses) / sum(weights)


def _validate(loop: TrainingLoop, validation: AnyExamples | None) -> dict[str, float]:
    if validation is None:
        return {}
    labels, answers = [], []
    for chunk in validation.chunks():
        label = chunk.column(chunk.label)
        known = label >= 0
        labels.append(label[known])
        answers.append(loop.predict(chunk)[known])
    label, answer = np.concatenate(labels), np.concatenate(answers)
    if not len(label):
        raise _nothing_labelled("validation")
    return {
        "validation_loss": log_loss(label, answer),
        "validation_auc": area_under_curve(label, answer),
    }


def _merit(scores: dict[str, float], monitor: str) -> float:
    """How good an epoch was; without a validation split, or with one class in it, the last wins."""
    merit = -scores.get("validation_loss", math.nan)
    if monitor == "auc":
        merit = scores.get("validation_auc", math.nan)
    return math.inf if math.isnan(merit) else merit


def _is_over(progress: Progress, recipe: Recipe) -> bool:
    waited = progress.epoch - progress.best_epoch
    return progress.epoch >= recipe.epochs or waited >= recipe.patience


def _nothing_labelled(split: str) -> UsageError:
    return UsageError(
        "There is no row with a known label.",
        where=f"train, split {split}",
        expected="labels of 0 and 1",
        received="only labels below 0, weights of 0, or no rows",
        next="look at the transformed examples and the label preprocessing_fn returns",
    )


def _diverged(epoch: int, loss: float) -> LearnLoopError:
    return LearnLoopError(
        "The training loss stopped being a number.",
        where=f"train, epoch {epoch}",
        expected="a finite loss",
        received=str(loss),
        next="lower learning_rate, set clip_norm, or scale the features in preprocessing_fn",
    )
