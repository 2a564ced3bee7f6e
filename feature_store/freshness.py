"""Up to when online stores have all rows of each view, for Prometheus (``learnloop metrics``)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from prometheus_client.core import Metric

from feature_store.online.sqlite import SqliteStore
from feature_store.online.store import open_online_stores, plain_name
from learnloop.metrics.families import gauge
from learnloop.settings import Settings


def describe_freshness(settings: Settings) -> Iterable[Metric]:
    """Tell the watermark of every view that an online store holds something of.

    Args:
        settings: Names the online stores.

    Raises:
        LearnLoopError: A store does not answer.
    """
    told = gauge(
        "features_watermark_timestamp_seconds",
        "Up to when the online store has all rows of the view, in seconds since 1970.",
        "view",
        "store",
    )
    for online in open_online_stores(settings):
        with closing(online):
            if isinstance(online, SqliteStore) and not online.file.exists():
                continue
            newest: dict[str, int] = {}
            for stored in online.views():
                state = online.state(stored)
                if state is not None:  # dropped meanwhile
                    view = plain_name(stored)
                    newest[view] = max(newest.get(view, 0), state.watermark)
            for view, microseconds in newest.items():
                told.add_metric([view, online.name.partition(" ")[0]], microseconds / 1e6)
    return (told,)
