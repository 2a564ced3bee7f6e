"""The page of a feature view: how its features are spread, how fresh they are, what they are for.

``profile`` looks at the newest row of every key, ``collect`` puts definition, sources and online
stores beside it, ``render`` makes one HTML file of all that, which needs no network.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from feature_store.page.collect import collect_page
from feature_store.page.render import render_page

if TYPE_CHECKING:
    from feature_store.store import FeatureStore

__all__ = ["collect_page", "render_page", "write_page"]


def write_page(store: FeatureStore, view: str, file: Path, purpose: str = "") -> None:
    """Write the page of a view, as it is now.

    Args:
        store: The feature store.
        view: The view's name.
        file: The page; replaced as a whole.
        purpose: What sensitive features are looked at for.

    Raises:
        UsageError: There is no such view with rows, or its source does not fit.
        NotApplied: The view is not applied as it is defined.
        PurposeRefused: Sensitive features are not to be read for this purpose.
        LearnLoopError: The page cannot be written.
    """
    from learnloop.store.local import explain_disk_faults

    text = render_page(collect_page(store, view, datetime.now(UTC), purpose))
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.part")
    with explain_disk_faults(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)
