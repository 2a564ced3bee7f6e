"""What a killed training needs to go on: one file, replaced whole.

The file is an npz (no pickle): the model's variables with the states of its random layers, the
optimizer's variables, the best weights so far and, as JSON, the progress. It is written beside and
renamed, so a kill leaves the old one or the new one. Short epochs are not all written: since an
epoch is a pure function of the state before it, repeating a few gives the same weights.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from components.engines.training.digest import digest_weights

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    Weights: TypeAlias = list[NDArray[np.generic]]

SECONDS_BETWEEN = 2.0
"""A kill loses at most this much training, or one epoch where that takes longer."""

FILE_NAME = "checkpoint.npz"


@dataclass(frozen=True)
class Progress:
    """Where a training stands after an epoch.

    Attributes:
        epoch: Epochs done.
        best_epoch: The epoch with the best score, 0 before the first.
        best_merit: That score; more is better.
        best_weights: The model's weights after it.
        curves: By name, one value an epoch.
        seconds: Wall time of the epochs done.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_merit: float = -np.inf
    best_weights: Weights = field(default_factory=list, repr=False)
    curves: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def after(
        self, scores: dict[str, float], merit: float, seconds: float, model: keras.Model
    ) -> Progress:
        """Return the progress after one more epoch with these scores."""
        curves = {name: [*self.curves.get(name, ()), score] for name, score in scores.items()}
        done = replace(self, epoch=self.epoch + 1, curves=curves, seconds=self.seconds + seconds)
        if merit <= self.best_merit and np.isfinite(merit):
            return done
        return replace(
            done, best_epoch=done.epoch, best_merit=merit, best_weights=model.get_weights()
        )


@dataclass
class Checkpoint:
    """The checkpoint of one training in its scratch folder.

    Attributes:
        file: Where it lies; None keeps nothing.
        variables: All that an epoch changes.
        identity: What must be equal for a checkpoint to be gone on from.
    """

    file: Path | None
    variables: list[keras.Variable]
    identity: str
    _written: float = field(default_factory=time.monotonic)

    @classmethod
    def of(
        cls,
        scratch: Path | None,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        identity: dict[str, object],
    ) -> Checkpoint:
        """Describe the checkpoint of this training; nothing is read or written yet."""
        variables = [*model.variables, *optimizer.variables]
        shapes = [[*variable.shape] for variable in variables]
        start = {"shapes": shapes, "weights": digest_weights(model)}
        text = json.dumps({**identity, **start}, sort_keys=True)
        return cls(scratch / FILE_NAME if scratch else None, variables, text)

    def save(self, progress: Progress, *, is_last: bool) -> None:
        """Write the state after an epoch, unless the last was written moments ago."""
        is_due = is_last or time.monotonic() - self._written >= SECONDS_BETWEEN
        if self.file is None or not is_due:
            return
        arrays = {f"v{i}": variable.numpy() for i, variable in enumerate(self.variables)}
        arrays |= {f"best{i}": weights for i, weights in enumerate(progress.best_weights)}
        numbers = {
            "identity": self.identity,
            "epoch": progress.epoch,
            "best_epoch": progress.best_epoch,
            "best_merit": progress.best_merit,
            "curves": progress.curves,
            "seconds": progress.seconds,
        }
        arrays["progress"] = np.frombuffer(json.dumps(numbers).encode(), np.uint8)
        partial = self.file.with_suffix(".partial")
        with partial.open("wb") as stream:
            np.savez(stream, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(self.file)
        self._written = time.monotonic()

    def restore(self) -> Progress:
        """Put the checkpoint's state into the variables; a fresh start where there is none.

        A checkpoint that is damaged, or of another training (other recipe, other weights to start
        from), costs time and nothing else: it is ignored.
        """
        if self.file is None or not self.file.exists():
            return Progress()
        try:
            with np.load(self.file, allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in saved.files}
            numbers = json.loads(arrays.pop("progress").tobytes())
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return Progress()
        if numbers.pop("identity") != self.identity:
            return Progress()
        for index, variable in enumerate(self.variables):
            variable.assign(arrays.pop(f"v{index}"))
        return Progress(best_weights=[arrays[f"best{i}"] for i in range(len(arrays))], **numbers)
