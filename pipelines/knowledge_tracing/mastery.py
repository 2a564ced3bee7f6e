"""What a learner has mastered, read off the model, and what to practise next.

Mastery of a skill is the probability that the learner answers its next item correctly: the model is
asked once for each skill, all with the same history. What to practise next follows from mastery by
one documented rule (:func:`recommend`). Nothing here knows how the model is served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from learnloop.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Predict = Callable[[Mapping[str, "NDArray[Any]"]], "NDArray[Any]"]
"""From the served signature's columns (``skills``, ``responses`` `[batch, time]`, ``next_skill``
`[batch]`) to probabilities `[batch]`."""

LONGEST_HISTORY = 199
"""Steps of history that the model was trained to look back on; earlier ones are left out."""

REACH = (0.5, 0.8)
"""Where practice pays: success is likelier than failure, and not yet sure."""


@dataclass(frozen=True)
class Recommendation:
    """What to practise next, and why.

    Attributes:
        skill: The skill.
        mastery: The probability of a correct answer to its next item.
        reason: `within reach`; `review` where all skills are mastered; `easiest first` where none
            is within reach.
    """

    skill: str
    mastery: float
    reason: Literal["within reach", "review", "easiest first"]


def estimate_mastery(
    predict: Predict, skills: Sequence[str], responses: Sequence[int], candidates: Sequence[str]
) -> dict[str, float]:
    """Ask the model how likely the learner is to answer the next item of each skill correctly.

    Args:
        predict: The served model.
        skills: The learner's history in order of time; may be empty.
        responses: 1 for each correct response of it, else 0.
        candidates: The skills to estimate.

    Returns:
        The probability by skill, in the order of the candidates.

    Raises:
        UsageError: The history has not one response for each skill.
    """
    import numpy as np

    if len(skills) != len(responses):
        raise UsageError(
            "A history has one response for each skill.",
            where="mastery",
            expected=f"{len(skills)} responses",
            received=f"{len(responses)} responses",
        )
    if not candidates:
        return {}
    rows = len(candidates)
    columns = {
        "skills": np.tile(np.array(skills[-LONGEST_HISTORY:], dtype=object), (rows, 1)),
        "responses": np.tile(np.array(responses[-LONGEST_HISTORY:], dtype=np.int64), (rows, 1)),
        "next_skill": np.array(candidates, dtype=object),
    }
    return dict(zip(candidates, predict(columns).tolist(), strict=True))


def recommend(mastery: Mapping[str, float]) -> Recommendation | None:
    """Choose the skill to practise next.

    Of the skills within :data:`REACH` the weakest, which has most to gain. Where there is none, the
    strongest of those below it; where every skill is mastered, the weakest of all. Equal skills go
    in order of their names. Which skill builds on which is not known here: pass only the skills
    whose prerequisites the learner has.

    Args:
        mastery: The probability by skill, from :func:`estimate_mastery`.

    Returns:
        The recommendation, None where there are no skills.

    Example:
        >>> recommend({"fractions": 0.62, "decimals": 0.55, "ratios": 0.31}).skill
        'decimals'
    """
    low, high = REACH
    ranked = sorted(mastery, key=lambda skill: (mastery[skill], skill))
    within = [skill for skill in ranked if low <= mastery[skill] < high]
    below = [skill for skill in ranked if mastery[skill] < low]
    if within:
        return Recommendation(within[0], mastery[within[0]], "within reach")
    if below:
        easiest = min(below, key=lambda skill: (-mastery[skill], skill))
        return Recommendation(easiest, mastery[easiest], "easiest first")
    if ranked:
        return Recommendation(ranked[0], mastery[ranked[0]], "review")
    return None
