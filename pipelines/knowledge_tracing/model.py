"""One LSTM layer over the steps of a sequence, with a probability at every step.

The network is Deep Knowledge Tracing (Piech et al., NIPS 2015) with three changes. It is told the
skill that is asked at each step, beside the interaction before it; it is told what simple counting
knows of the learner (:data:`~pipelines.knowledge_tracing.features.HISTORY`); and the LSTM's state
meets the skill asked once more before the answer. It only looks back, so padding at the end changes
nothing and one graph answers every step of a sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.knowledge_tracing.features import HISTORY, INTERACTION, SKILL

if TYPE_CHECKING:
    import keras

    from components.engines.training.features import Features


def build_model(
    features: Features,
    *,
    units: int = 128,
    embedding: int = 64,
    history: int = 32,
    hidden: int = 64,
    dropout: float = 0.4,
) -> keras.Model:
    """Build the network.

    Args:
        features: The transformed columns; ``skill`` with its number of categories.
        units: Of the LSTM layer.
        embedding: Numbers that describe a skill, and an interaction.
        history: Units that read the counted features.
        hidden: Units between the LSTM and the answer.
        dropout: The share of values dropped before the hidden layer, half of it after.

    Returns:
        Inputs `[batch, time]` named after the columns, probabilities `[batch, time, 1]`.
    """
    import keras
    from keras import layers

    skills = features[SKILL].categories or 0
    skill = keras.Input((None,), name=SKILL, dtype="int32")
    interaction = keras.Input((None,), name=INTERACTION, dtype="int32")
    counted = [keras.Input((None, 1), name=name, dtype="float32") for name in HISTORY]

    asked = layers.Embedding(skills, embedding, name="asked")(skill)
    before = layers.Embedding(2 * skills + 1, embedding, name="before")(interaction)
    known = layers.Dense(history, activation="relu", name="known")(layers.Concatenate()(counted))
    seen = layers.Concatenate()([before, asked, known])
    state = layers.LSTM(units, return_sequences=True, name="memory")(seen)
    met = layers.Dropout(dropout)(layers.Concatenate()([state, asked, known]))
    answer = layers.Dense(hidden, activation="relu", name="hidden")(met)
    answer = layers.Dense(1, name="answer")(layers.Dropout(dropout / 2)(answer))
    difficulty = layers.Embedding(skills, 1, name="difficulty")(skill)
    probability = layers.Activation("sigmoid", dtype="float32")(layers.Add()([answer, difficulty]))
    return keras.Model([skill, interaction, *counted], probability, name="knowledge_tracing")
