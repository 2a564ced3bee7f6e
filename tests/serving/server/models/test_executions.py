"""Whatever answers in a model's place answers as the model does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.server.contract import Code, VersionState, VersionStatus
from serving.server.models import ModelLibrary
from serving.server.models.executions import where_finite
from serving.server.models.prepare import PLAN, _compare
from serving.server.models.questions import Question
from tests.serving.server.models.saved_models import asynchronous, look, serving_models

ROWS = (0, 1, 3, 32, 100)


async def differences(library: ModelLibrary, folder: Path) -> list[float]:
    """Ask the library and TensorFlow the same; how far their answers lie apart, by rows."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    random = np.random.default_rng(2)
    found = []
    for rows in ROWS:
        x = random.normal(size=(rows, 3)).astype(np.float32)
        if rows > 1:
            x[0, 0], x[1, 1] = np.nan, np.inf
        ((alias, expected),) = signature(x=tf.constant(x)).items()
        answer = await library.find("dense").run("serving_default", {"x": x})
        assert answer[alias].shape == (rows, 1)
        both = np.isfinite(expected.numpy())
        assert (np.isfinite(answer[alias]) == both).all()
        apart = np.abs(answer[alias] - expected.numpy())[both]
        found.append(float(apart.max(initial=0)))
    return found


@asynchronous
async def test_answers_as_tensorflow_does_before_and_after_it_was_made_faster(
    dense: Path, tmp_path: Path
) -> None:
    models, cache = tmp_path / "models", tmp_path / "cache"
    shutil.copytree(dense / "dense", models / "dense")
    async with serving_models(models, cache, is_converting=True) as library:
        assert max(await differences(library, models / "dense" / "1")) <= 1e-6
        await library.improve()
        (file,) = cache.glob(f"*/converted/{PLAN}")
        plan = json.loads(file.read_bytes())["serving_default"]
        assert set(plan["tried"]) == {"graph", "tflite", "onnx"}
        converted = [tried for tried in plan["tried"].values() if isinstance(tried, list)]
        assert len(converted) >= 2, plan
        assert max(await differences(library, models / "dense" / "1")) <= 1e-6
    async with serving_models(models, cache, is_converting=True) as library:
        assert max(await differences(library, models / "dense" / "1")) <= 1e-6
    for chosen in file.parent.glob("serving_default.*"):
        chosen.write_bytes(b"damaged")
    async with serving_models(models, cache) as library:
        assert max(await differences(library, models / "dense" / "1")) <= 1e-6


@asynchronous
async def test_damaged_variables_and_those_left_out_are_refused(
    dense: Path, cache: Path, tmp_path: Path
) -> None:
    base = tmp_path / "models" / "dense"
    shutil.copytree(dense / "dense", base)
    async with serving_models(base.parent, cache) as library:
        cut = tmp_path / "cut"
        shutil.copytree(base / "1", cut)
        variables = cut / "variables" / "variables.data-00000-of-00001"
        variables.write_bytes(variables.read_bytes()[:-40])
        cut.rename(base / "2")
        await look(library)
        (status,) = library.statuses("dense", 2)
        assert (status.state, status.code) == (VersionState.END, Code.OUT_OF_RANGE), status
        shutil.copytree(dense / "saved" / "1", tmp_path / "saved")
        (tmp_path / "saved").rename(base / "3")
        await look(library)
        (status,) = library.statuses("dense", 3)
        assert (status.state, status.code) == (VersionState.END, Code.FAILED_PRECONDITION)
        assert status.message.startswith(
            "Signature serving_default needs what is not restored with the version: "
            "Could not find variable "
        )
        assert library.statuses("dense", 1) == [VersionStatus(1, VersionState.AVAILABLE)]
        assert max(await differences(library, base / "1")) <= 1e-6


ASKED = Question("serving_default", [np.float32([1, 2])])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda arrays: [arrays[0] * np.float32(1 + 2e-7)], ""),
        (
            lambda arrays: [arrays[0] + np.float32(1e-3)],
            "its answers differ from the graph's by up to 0.001",
        ),
        (
            lambda arrays: [arrays[0][:, None]],
            "its answers have another shape or dtype than the graph's",
        ),
    ],
)
def test_a_translation_that_answers_otherwise_is_not_the_model(other: Any, words: str) -> None:
    assert _compare(lambda arrays: list(arrays), other, ASKED) == words


def test_a_translation_that_differs_on_nan_is_not_asked_about_it() -> None:
    both = where_finite(lambda arrays: ["converted"], lambda arrays: ["graph"], [True, False])
    for number, expected in ((1.0, "converted"), (np.nan, "graph"), (np.inf, "graph")):
        assert both([np.float32([number]), np.int64([1])]) == [expected]
