"""Where artifacts live: one protocol, a local folder or S3.

An execution's outputs are written into a private staging folder and published together, at once, or
not at all. What is published never changes. A manifest names every file with its size and digest,
so that bytes can be verified before they are used.
"""

from __future__ import annotations

import functools

from learnloop.store.protocol import Manifest, Store

__all__ = ["Manifest", "Store", "open_store"]


@functools.cache
def open_store(location: str, home: str) -> Store:
    """Open the store at a location: one for this process, like the ledger.

    Args:
        location: A folder, or ``s3://bucket/prefix``.
        home: A local folder for staging and for copies of remote artifacts.

    Returns:
        The store.

    Raises:
        LearnLoopError: The place cannot be written.
    """
    if location.startswith("s3://"):
        from learnloop.store.s3 import S3Store

        return S3Store.open(location, home)
    from learnloop.store.local import LocalStore

    return LocalStore.open(location)
