from __future__ import annotations

import pytest

from components.engines.training.features import FeatureColumn
from pipelines.knowledge_tracing.features import HISTORY, INTERACTION, SKILL
from pipelines.knowledge_tracing.model import build_model


@pytest.mark.parametrize("units", [64, 128])
def test_one_lstm_layer_and_a_probability_at_every_step(units: int) -> None:
    import keras

    features = {
        SKILL: FeatureColumn(SKILL, "int32", (None,), categories=11),
        INTERACTION: FeatureColumn(INTERACTION, "int32", (None,)),
        **{name: FeatureColumn(name, "float32", (None,)) for name in HISTORY},
    }
    model = build_model(features, units=units)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    assert [type(layer).__name__ for layer in layers] == ["LSTM"]
    assert layers[0].units == units
    assert model.output_shape == (None, None, 1)
    assert {tensor.name for tensor in model.inputs} == {SKILL, INTERACTION, *HISTORY}
    assert model.get_layer("asked").input_dim == 11
    assert model.get_layer("before").input_dim == 23
