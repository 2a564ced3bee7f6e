"""Sharing work over batches between threads: Arrow and numpy work without Python's lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_HANDS = 4
"""Reading goes on in one thread at a time; more hands than this would wait for it."""


def share(items: Iterator[Item], work: Callable[[Iterator[Item]], Result]) -> list[Result]:
    """Have several threads work through one iterator, each item reaching one of them.

    Args:
        items: The items; made by one thread at a time.
        work: What each thread does with the items that reach it.

    Returns:
        What each thread made of its items.

    Example:
        >>> sum(share(iter(range(100)), sum))
        4950
    """
    lock = threading.Lock()

    def portion() -> Iterator[Item]:
        while True:
            with lock:
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    hands = min(os.cpu_count() or 1, MOST_HANDS)
    with ThreadPoolExecutor(hands) as threads:
        return [
            future.result() for future in [threads.submit(work, portion()) for _ in range(hands)]
        ]
