"""How much space is left where LearnLoop writes. A place in S3 has no end, and is not told."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import Metric

from learnloop.metrics.families import gauge
from learnloop.settings import Settings


def describe_disk(settings: Settings) -> Iterable[Metric]:
    """Tell the size and the free space of the disk under each folder that there is.

    Args:
        settings: Names the folders.
    """
    free = gauge("disk_free_bytes", "Free space under a folder.", "place")
    size = gauge("disk_size_bytes", "Size of the disk under a folder.", "place")
    places: dict[str, str | Path] = {
        "home": settings.home_folder,
        "store": settings.store_location,
        "serving": settings.serving_location,
        "predictions": settings.predictions_folder,
        "events": settings.events_folder,
    }
    for place, folder in places.items():
        try:
            usage = shutil.disk_usage(folder)
        except FileNotFoundError:
            continue
        free.add_metric([place], usage.free)
        size.add_metric([place], usage.total)
    return (free, size)
