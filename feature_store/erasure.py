"""Removing a person from the features: from what views read, from pushed rows, from online rows.

Source files come first, then pushed rows, then the online stores: a materialization that read the
person's rows earlier is refused then, and one that begins later finds nobody. Whoever is killed
erases again, and removes what is left. The receipt is :mod:`privacy`'s, which erases all the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from feature_store.definitions import FeatureView
from feature_store.fields import FeatureType, Field
from feature_store.offline.erasing import erase_from_file
from feature_store.offline.reading import list_files, place_of
from feature_store.push import pushed_parts
from feature_store.pushed import PLACE
from feature_store.sources import PushSource, Source, stored_source
from learnloop.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from feature_store.store import FeatureStore


@dataclass(frozen=True)
class Erased:
    """Rows that were removed from one place.

    Args:
        place: The source, or the view and its online store.
        rows: How many; nought tells of a place that was searched.
        left: Why the place was not reached; "" if it was.
    """

    place: str
    rows: int
    left: str = ""


def erase_features(
    store: FeatureStore, identifiers: Collection[str], learner: str
) -> Iterator[Erased]:
    """Remove all rows of a person, under every pseudonym key that is still there.

    Args:
        store: The feature store.
        identifiers: The join keys that name a learner, as ``learner``.
        learner: The person's value of them, as text.

    Yields:
        What was removed, place by place.

    Raises:
        SourceChanged: Somebody else changed a source meanwhile; erase again.
        OnlineStoreUnavailable: A store does not answer; erase again.
        LearnLoopError: Bytes of removed rows are still in a log; erase again.
    """
    stored = store.definitions.stored_views.values()
    views = [view for view in stored if _keys(view, identifiers, learner)]
    sources = {view.source.name: view.source for view in views}
    for name, source in sources.items():
        keys = [
            key
            for view in views
            if view.source == source
            for key in _keys(view, identifiers, learner)
        ]
        yield _erase_from_source(f"source {name}", source, keys, learner)
    names = sorted({key.name for view in views for key in _keys(view, identifiers, learner)})
    yield from _erase_online(store, names, learner)


def _keys(view: FeatureView, identifiers: Collection[str], learner: str) -> list[Field]:
    """The join keys of a view that name a learner and could have this value."""
    return [
        key
        for key in view.join_keys
        if key.name in identifiers and (key.dtype is FeatureType.STRING or _is_number(learner))
    ]


def _is_number(learner: str) -> bool:
    return learner.isdecimal() and str(int(learner)) == learner


def _erase_from_source(place: str, source: Source, keys: list[Field], learner: str) -> Erased:
    stored = stored_source(source)
    path = place_of(stored)
    if path.startswith("s3://"):
        return Erased(place, 0, f"{path} is on S3: erase there, and earlier versions")
    erased = 0
    if isinstance(source, PushSource):
        parts = pushed_parts(source)
        named = {name: key for key in keys for name in (key.name, *key.formerly)}
        for name, key in named.items():
            value = learner if key.dtype is FeatureType.STRING else int(learner)
            erased += parts.remove(name, partial(_has, name=name, value=value))
    try:
        files = list_files(stored)
    except UsageError as fault:
        return Erased(place, erased, f"there is nothing at {fault.where}")
    for name, file in files:
        if not name.startswith(f"{PLACE}/"):
            erased += erase_from_file(file, keys, learner)
    return Erased(place, erased)


def _has(table: pa.Table, name: str, value: int | str) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.equal(table[name], value)


def _erase_online(store: FeatureStore, names: list[str], learner: str) -> Iterator[Erased]:
    text = learner.encode()
    parts = [pseudonyms.of(name)(text) for pseudonyms in store.every_pseudonyms for name in names]
    for online in store.online_stores:
        for view in online.views():
            yield Erased(f"feature view {view}, {online.name}", online.erase(view, parts))
