"""From the definition, the source and the online stores to what the page of a view shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from feature_store.catalogue import describe_definition
from feature_store.definitions import FeatureService, FeatureView, OnDemandFeatureView
from feature_store.documents import describe_difference
from feature_store.offline.reading import SourceReader
from feature_store.online.store import OnlineStoreUnavailable, stored_name
from feature_store.page.profile import Profile, profile_view
from feature_store.store import FeatureStore

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class OnlineState:
    """What an online store has of a view.

    Args:
        store: What people call the store.
        watermark: Up to when it has all rows; None if it has nothing.
        told: What there is to say if it has nothing.
    """

    store: str
    watermark: datetime | None
    told: str = ""


@dataclass(frozen=True)
class SourceFacts:
    """What lies in a source.

    Args:
        files: How many files.
        rows: How many rows.
    """

    files: int
    rows: int


@dataclass(frozen=True)
class ViewPage:
    """What the page of a view shows.

    Args:
        facts: The definition, as the catalogue tells it.
        now: When it was looked at.
        ttl: How long a value holds; None for ever.
        source: What lies in its source.
        profile: What its newest rows are like.
        online: What each online store has of it.
        computed: On-demand views that are given its features.
        services: Services that read it, themselves or through an on-demand view.
        versions: What changed with each version, the newest first.
    """

    facts: dict[str, Any]
    now: datetime
    ttl: timedelta | None
    source: SourceFacts
    profile: Profile
    online: Sequence[OnlineState]
    computed: Sequence[OnDemandFeatureView]
    services: Sequence[FeatureService]
    versions: Sequence[tuple[int, Sequence[str]]]


def collect_page(store: FeatureStore, name: str, now: datetime, purpose: str = "") -> ViewPage:
    """Gather what the page of a view shows.

    Args:
        store: The feature store.
        name: The view's name.
        now: Nothing recorded later is looked at.
        purpose: What sensitive features are looked at for.

    Returns:
        The page.

    Raises:
        UsageError: There is no such view with rows, or its source does not fit.
        NotApplied: The view is not applied as it is defined.
        PurposeRefused: Sensitive features are not to be read for this purpose.
    """
    view = store.definitions.stored_view(name)
    store.ask([view], purpose=purpose)
    computed = [
        other
        for other in store.definitions.views.values()
        if isinstance(other, OnDemandFeatureView) and _reads(other, view)
    ]
    readers = {view.name, *(other.name for other in computed)}
    with SourceReader(view) as reader:
        rows = sum(file.metadata.num_rows for file in reader.files)
        source = SourceFacts(len(reader.files), rows)
    return ViewPage(
        facts=describe_definition(store, name),
        now=now,
        ttl=view.ttl,
        source=source,
        profile=profile_view(view, now),
        online=_online(store, view) if view.online else (),
        computed=computed,
        services=[
            service
            for service in store.definitions.services.values()
            if any(chosen.view.name in readers for chosen in service.projections)
        ],
        versions=_versions(store, name),
    )


def _reads(computed: OnDemandFeatureView, view: FeatureView) -> bool:
    return any(chosen.view.name == view.name for chosen in computed.projections)


def _online(store: FeatureStore, view: FeatureView) -> list[OnlineState]:
    states = []
    stored = stored_name(view.name, store.pseudonyms.name)
    for online in store.online_stores:
        try:
            state = online.state(stored)
        except OnlineStoreUnavailable as fault:
            states.append(OnlineState(online.name, None, fault.what))
            continue
        if state is None:
            told = f"It holds nothing: learnloop features materialize --view {view.name}"
            states.append(OnlineState(online.name, None, told))
        else:
            watermark = EPOCH + timedelta(microseconds=state.watermark)
            states.append(OnlineState(online.name, watermark))
    return states


def _versions(store: FeatureStore, name: str) -> list[tuple[int, Sequence[str]]]:
    written = store.registry.objects["feature view"][name]["versions"]
    changes: list[tuple[int, Sequence[str]]] = [(1, ["first applied"])]
    for number in range(1, len(written)):
        lines = describe_difference(written[number - 1], written[number])
        changes.append((number + 1, lines or ["applied again after it was removed"]))
    return changes[::-1]
