"""What is known of a learner before each response: TensorFlow Transform features over sequences.

Everything is computed here, inside the exported graph, from the raw skills and responses, so that
what is served cannot differ from what was trained on. Every feature of a step tells of the steps
before it and of the skill asked, never of the response itself or a later one. All counts are whole
numbers until the last operation: a prefix of a sequence has bit for bit the features of the whole.

The steps of all rows lie end to end in one flat array; a row, a skill within a row, or a streak is
a stretch of it. Two operations on stretches, :func:`_steps_since` and :func:`_sum_before`, are all
it takes, so the cost grows with the number of steps and not with its square.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

    Tensors = Mapping[str, tf.Tensor | tf.SparseTensor]

LABEL = "correct"
SKILL = "skill"
INTERACTION = "interaction"

HISTORY = (
    "attempts_on_skill",
    "mean_on_skill",
    "recent_mean_on_skill",
    "last_on_skill",
    "streak_on_skill",
    "steps_since_skill",
    "responses_so_far",
    "mean_so_far",
    "recent_mean_so_far",
    "skills_so_far",
    "run_of_skill",
)
"""The engineered features, float32 lists with one value for each step."""

RECENT_ON_SKILL = 5
RECENT = 10


def preprocessing_fn(inputs: Tensors) -> dict[str, tf.Tensor | tf.SparseTensor]:
    """Number the skills and tell, at each step, what was known before the response.

    Args:
        inputs: ``skills`` string and ``responses`` int64, sparse `[batch, time]`; ``next_skill``
            string `[batch]`, the skill of the last step; ``correct`` int64, sparse
            `[batch, time + 1]`, the label, passed through.

    Returns:
        Sparse `[batch, time + 1]`: ``skill`` int64 (the vocabulary of the training split by
        frequency, then one number for every unknown skill), ``interaction`` int64 (0 at the first
        step, else 1 + twice the skill before + the response to it), :data:`HISTORY` float32,
        ``correct``.
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    skills, responses = inputs["skills"], inputs["responses"]
    next_skill = inputs["next_skill"]
    as_long = tf.debugging.assert_equal(
        _lengths(skills), _lengths(responses), "A history has one response for each skill."
    )
    with tf.control_dependencies([as_long]):
        asked = _append(skills, next_skill)
    names = tft.compute_and_apply_vocabulary(asked, num_oov_buckets=1, vocab_filename=SKILL)
    row = asked.indices[:, 0]
    # The response to the last step is not known; like every response it only tells of later steps.
    response = _append(responses, tf.zeros_like(next_skill, tf.int64)).values
    position = _steps_since(_differs_from_previous(row))
    places = tf.stack([row, position], axis=1)
    steps = {SKILL: names.values, **history_features(row, names.values, response)}
    sparse = {
        name: tf.SparseTensor(places, values, asked.dense_shape) for name, values in steps.items()
    }
    return {**sparse, LABEL: inputs[LABEL]}


def _lengths(sequence: tf.SparseTensor) -> tf.Tensor:
    """Count the steps of each row: int64 `[batch]`."""
    import tensorflow as tf

    row = sequence.indices[:, 0]
    return tf.math.unsorted_segment_sum(tf.ones_like(row), row, sequence.dense_shape[0])


def _append(sequence: tf.SparseTensor, last: tf.Tensor) -> tf.SparseTensor:
    """Append one value to every row: `[batch, time]` and `[batch]` to `[batch, time + 1]`."""
    import tensorflow as tf

    rows = tf.size(last, tf.int64)
    places = tf.stack([tf.range(rows), tf.zeros([rows], tf.int64)], axis=1)
    column = tf.SparseTensor(places, last, tf.stack([rows, 1]))
    return tf.sparse.concat(1, [sequence, column])


def history_features(row: tf.Tensor, skill: tf.Tensor, response: tf.Tensor) -> dict[str, tf.Tensor]:
    """Compute all features of flat steps.

    Args:
        row: int64 `[steps]`, ascending.
        skill: int64 `[steps]`.
        response: int64 `[steps]`, 0 or 1.

    Returns:
        By name, `[steps]`: ``interaction`` int64 and :data:`HISTORY` float32.
    """
    import tensorflow as tf

    starts_row = _differs_from_previous(row)
    position = _steps_since(starts_row)
    starts_run = starts_row | _differs_from_previous(skill)

    # Stable, so that within a row the steps of one skill stay in order of time.
    by_skill = tf.argsort(skill, stable=True)
    by_skill = tf.gather(by_skill, tf.argsort(tf.gather(row, by_skill), stable=True))
    back = tf.math.invert_permutation(by_skill)
    grouped_response = tf.gather(response, by_skill)
    starts_skill = _differs_from_previous(tf.gather(row, by_skill)) | _differs_from_previous(
        tf.gather(skill, by_skill)
    )
    attempt = _steps_since(starts_skill)
    since_wrong = _steps_since(starts_skill | (_previous(grouped_response) == 0))
    grouped_position = tf.gather(position, by_skill)

    attempts = tf.gather(attempt, back)
    is_new = tf.cast(attempts == 0, tf.int64)
    last = tf.where(starts_skill, tf.zeros_like(attempt), 2 * _previous(grouped_response) - 1)
    gap = tf.where(
        starts_skill, tf.zeros_like(attempt), grouped_position - _previous(grouped_position)
    )
    correct_on_skill = _sum_before(grouped_response, attempt)
    recent_on_skill = _sum_before(grouped_response, tf.minimum(attempt, RECENT_ON_SKILL))
    recent = tf.minimum(position, RECENT)
    return {
        INTERACTION: tf.where(
            starts_row, tf.zeros_like(skill), 1 + 2 * _previous(skill) + _previous(response)
        ),
        "attempts_on_skill": _logarithm(attempts),
        "mean_on_skill": _mean(tf.gather(correct_on_skill, back), attempts),
        "recent_mean_on_skill": _mean(
            tf.gather(recent_on_skill, back), tf.minimum(attempts, RECENT_ON_SKILL)
        ),
        "last_on_skill": tf.cast(tf.gather(last, back), tf.float32),
        "streak_on_skill": _logarithm(tf.gather(since_wrong, back)),
        "steps_since_skill": _logarithm(tf.gather(gap, back)),
        "responses_so_far": _logarithm(position),
        "mean_so_far": _mean(_sum_before(response, position), position),
        "recent_mean_so_far": _mean(_sum_before(response, recent), recent),
        "skills_so_far": _logarithm(_sum_before(is_new, position)),
        "run_of_skill": _logarithm(_steps_since(starts_run)),
    }


def _previous(values: tf.Tensor) -> tf.Tensor:
    """Shift by one step; the first takes the last, which every caller hides behind a start."""
    import tensorflow as tf

    return tf.roll(values, 1, axis=0)


def _differs_from_previous(values: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    first = tf.ones_like(values[:1], tf.bool)
    return tf.concat([first, values[1:] != values[:-1]], axis=0)


def _steps_since(is_start: tf.Tensor) -> tf.Tensor:
    """Count the steps since the last start, which counts 0; the first step is always a start."""
    import tensorflow as tf

    starts = tf.where(is_start)[:, 0]
    stretch = tf.cumsum(tf.cast(is_start, tf.int64)) - 1
    return tf.range(tf.size(stretch, tf.int64)) - tf.gather(starts, stretch)


def _sum_before(values: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
    """Sum the values of so many steps just before each step, itself left out."""
    import tensorflow as tf

    total = tf.cumsum(values, exclusive=True)
    return total - tf.gather(total, tf.range(tf.size(steps, tf.int64)) - steps)


def _mean(correct: tf.Tensor, of: tf.Tensor) -> tf.Tensor:
    """The share of correct responses, as if one right and one wrong had been before them."""
    import tensorflow as tf

    return (tf.cast(correct, tf.float32) + 1.0) / (tf.cast(of, tf.float32) + 2.0)


def _logarithm(count: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.math.log1p(tf.cast(count, tf.float32))
