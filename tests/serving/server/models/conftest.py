"""What is dear is made once: findings about versions, and a real model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.serving.server.tiny_models import MODEL, write_version

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Findings that tests share: a version that one of them tried is not tried again."""
    return tmp_path_factory.mktemp("prepared-models")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The base path of the tiny model, with its version 1, in a folder of models."""
    folder = tmp_path / "models" / MODEL
    write_version(folder, 1)
    return folder


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with Keras models: ``dense/1`` exported by Keras, ``saved/1`` not."""
    import keras
    import numpy as np
    import tensorflow as tf

    from serving.warmup import write_warmup_requests

    folder = tmp_path_factory.mktemp("keras")
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((3,), name="x"), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)]
    )
    model.export(folder / "dense" / "1", verbose=False)
    rows = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    write_warmup_requests(folder / "dense" / "1", "dense", {"x": rows})
    serve = tf.function(model, input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    tf.saved_model.save(model, str(folder / "saved" / "1"), signatures=serve)
    return folder
