"""Removing a person from what the feature store keeps by itself: pushed rows and online rows.

The files of other sources are their owners' to erase from, and before this: a materialization that
read them earlier is refused afterwards, and one that begins later finds nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from feature_store.push import pushed_parts
from feature_store.sources import PushSource

if TYPE_CHECKING:
    from feature_store.store import FeatureStore


@dataclass(frozen=True)
class Erased:
    """Rows that were removed from one place.

    Args:
        place: The push source, or the view and its online store.
        rows: How many.
    """

    place: str
    rows: int


def erase_features(store: FeatureStore, identifier: str, value: int | str) -> list[Erased]:
    """Remove all rows of a person, under every pseudonym key that is still there.

    Args:
        store: The feature store.
        identifier: The join key, as ``learner``.
        value: The person's value of it.

    Returns:
        What was removed, place by place; nought rows tell of a place that was searched.

    Raises:
        OnlineStoreUnavailable: A store does not answer; erase again.
        LearnLoopError: Bytes of removed rows are still in a log; erase again.
    """
    erased = []
    for source in store.definitions.sources.values():
        if isinstance(source, PushSource):
            rows = pushed_parts(source).erase(identifier, value)
            erased.append(Erased(f"push source {source.name}", rows))
    text = str(value).encode()
    parts = [pseudonyms.of(identifier)(text) for pseudonyms in store.every_pseudonyms]
    for online in store.online_stores:
        for view in online.views():
            rows = online.erase(view, parts)
            erased.append(Erased(f"feature view {view}, {online.name}", rows))
    return erased
