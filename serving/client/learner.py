"""Asking by learner: what a model needs to know of one, from the online feature store.

The feature service that is called as the model is gives its columns. What the service itself has to
be told beside the learner (the course, the days that are left) comes with the row, as do columns of
the model that are no features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from learnloop.errors import UsageError
from serving.client.subject import IDENTIFIER

if TYPE_CHECKING:
    from feature_store.store import FeatureStore


def complete_rows(
    store: FeatureStore, model: str, learner: str, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Put a learner's features, as they are now, into rows for a model.

    Args:
        store: The feature store; its service of the model's name is read.
        model: The model's name.
        learner: The learner's id as text.
        rows: What is known beside: further join keys and request columns of the service, which the
            model is not given, and columns of the model.

    Returns:
        The rows with the features.

    Raises:
        UsageError: There is no such service, it is not about learners, a value is missing, or the
            store has nothing of this learner that still holds.
        LearnLoopError: The online store does not answer.
    """
    asked = store.ask(model)
    types = {field.name: field.dtype for field in (*asked.join_keys, *asked.request_fields)}
    if IDENTIFIER not in types:
        raise UsageError(
            f"The features of {model} are not looked up by learner.",
            where=f"feature service '{model}'",
            expected=f"the join key '{IDENTIFIER}'",
            received=", ".join(field.name for field in asked.join_keys),
        )
    identity = _typed(learner, is_number="int" in types[IDENTIFIER])
    reader = store.online_reader(asked)
    completed = []
    for row in rows:
        found = reader.one({**row, IDENTIFIER: identity})
        for view, status in found.statuses.items():
            if status != "PRESENT":
                raise _unknown(f"feature view '{view}'", str(status))
        missing = [name for name, value in found.values.items() if value is None]
        if missing:
            raise _unknown(f"feature service '{model}'", f"no value of {', '.join(missing)}")
        own = {name: value for name, value in row.items() if name not in types}
        completed.append({**found.values, **own})
    return completed


def _typed(learner: str, *, is_number: bool) -> str | int:
    if not is_number:
        return learner
    try:
        return int(learner)
    except ValueError:  # not with what was received: it may be somebody's name
        raise UsageError(
            "A learner's id is a whole number here.",
            where=f"the join key '{IDENTIFIER}'",
            expected="a whole number",
            received="text",
        ) from None


def _unknown(where: str, received: str) -> UsageError:
    return UsageError(
        "The feature store cannot tell all that the model needs to know of this learner.",
        where=where,
        expected="a value of every feature, that still holds",
        received=received,
        next="learnloop features materialize-incremental",
    )
