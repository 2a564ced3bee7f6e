"""Removing a person from the features: from what views read, from pushed rows, from online rows.

Source files come first, then pushed rows, then the online stores: a materialization that read the
person's rows earlier is refused then, and one that begins later finds nobody. Whoever is killed
erases again, and removes what is left. When all is done a receipt is written, which does not say
who it was.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from feature_store.definitions import FeatureView
from feature_store.fields import FeatureType, Field
from feature_store.offline.erasing import erase_from_file
from feature_store.offline.reading import list_files, place_of
from feature_store.push import pushed_parts
from feature_store.pushed import PLACE
from feature_store.sources import PushSource, Source, stored_source
from learnloop.errors import UsageError, closest
from learnloop.holding import hold
from learnloop.store.local import explain_disk_faults

if TYPE_CHECKING:
    from feature_store.store import FeatureStore

FORMAT = 1


@dataclass(frozen=True)
class Erased:
    """Rows that were removed from one place.

    Args:
        place: The source, or the view and its online store.
        rows: How many; nought tells of a place that was searched.
    """

    place: str
    rows: int


@dataclass(frozen=True)
class Receipt:
    """What was removed, without the person.

    Args:
        file: Where it is written down.
        at: When the last row was removed.
        identifier: The join key that named the person.
        reason: Why, as it was given.
        places: What was removed where.
    """

    file: Path
    at: datetime
    identifier: str
    reason: str
    places: tuple[Erased, ...]


def erase_features(store: FeatureStore, identifier: str, value: int | str, reason: str) -> Receipt:
    """Remove all rows of a person, under every pseudonym key that is still there.

    Args:
        store: The feature store.
        identifier: The join key, as ``learner``.
        value: The person's value of it.
        reason: Why; kept in the receipt, so it must not name the person.

    Returns:
        What was removed, place by place.

    Raises:
        UsageError: No view has this join key, a source is on S3, or the reason names the person.
        SourceChanged: Somebody else changed a source meanwhile; erase again.
        OnlineStoreUnavailable: A store does not answer; erase again.
        LearnLoopError: Bytes of removed rows are still in a log; erase again.
    """
    views = _views_with(store, identifier)
    _check_reason(reason, value)
    sources = {view.source.name: view.source for view in views}
    for source in sources.values():
        _check_place(source)
    folder = store.settings.home_folder / "features" / "erasures"
    with explain_disk_faults(folder), hold(folder) as is_held:
        if not is_held:
            raise UsageError("Somebody else is erasing.", where=folder, next="erase again later")
        places = [
            Erased(
                f"source {name}",
                _erase_from_source(source, _keys(views, source, identifier), value),
            )
            for name, source in sources.items()
        ]
        places += _erase_online(store, identifier, value)
        return _write_receipt(folder, identifier, reason, tuple(places))


def _views_with(store: FeatureStore, identifier: str) -> list[FeatureView]:
    views = list(store.definitions.stored_views.values())
    found = [view for view in views if identifier in view.key_names]
    if not found:
        raise UsageError(
            f"No feature view has the join key '{identifier}'.",
            where="feature views",
            expected=closest(identifier, {name for view in views for name in view.key_names}),
            received=repr(identifier),
        )
    return found


def _check_reason(reason: str, value: int | str) -> None:
    is_named = re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", reason)
    if not reason.strip() or is_named:
        raise UsageError(
            "A receipt needs a reason that does not name the person.",
            where="reason",
            expected="the number of a request, for example",
            received="a reason that names the person" if is_named else "nothing",
        )


def _check_place(source: Source) -> None:
    place = place_of(stored_source(source))
    if place.startswith("s3://"):
        raise UsageError(
            "Rows on S3 cannot be erased from here, and nothing was erased.",
            where=f"source '{source.name}'",
            expected="files on a disk of this machine",
            received=place,
            next="erase them where they are made, and their earlier versions; then materialize",
        )
    if not isinstance(source, PushSource):
        list_files(source)  # tells before anything is erased if there is nothing to look in


def _keys(views: list[FeatureView], source: Source, identifier: str) -> list[Field]:
    return [
        key
        for view in views
        if view.source == source
        for key in view.join_keys
        if key.name == identifier
    ]


def _erase_from_source(source: Source, keys: list[Field], value: int | str) -> int:
    stored = stored_source(source)
    if not isinstance(source, PushSource):
        return sum(erase_from_file(path, keys, value) for _, path in list_files(stored))
    is_text = keys[0].dtype is FeatureType.STRING
    erased = pushed_parts(source).erase(keys[0].name, str(value) if is_text else int(value))
    own = [path for name, path in list_files(stored) if not name.startswith(f"{PLACE}/")]
    return erased + sum(erase_from_file(path, keys, value) for path in own)


def _erase_online(store: FeatureStore, identifier: str, value: int | str) -> Iterator[Erased]:
    text = str(value).encode()
    parts = [pseudonyms.of(identifier)(text) for pseudonyms in store.every_pseudonyms]
    for online in store.online_stores:
        for view in online.views():
            yield Erased(f"feature view {view}, {online.name}", online.erase(view, parts))


def _write_receipt(
    folder: Path, identifier: str, reason: str, places: tuple[Erased, ...]
) -> Receipt:
    at = datetime.now(UTC)
    file = folder / f"{at:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}.json"
    document = {
        "format": FORMAT,
        "at": at.isoformat(timespec="seconds"),
        "identifier": identifier,
        "reason": reason,
        "places": [asdict(place) for place in places],
    }
    unfinished = file.with_suffix(".part")
    with unfinished.open("w", encoding="utf-8") as handle:
        json.dump(document, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    unfinished.replace(file)
    return Receipt(file, at, identifier, reason, places)
