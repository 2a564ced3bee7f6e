"""Reading ahead: the next batch is made in a second thread while the present one is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Make each item while the one before it is being used.

    Arrow parses, compresses and hashes without holding Python's lock, so two cores are used.

    Args:
        items: An iterator without None; it is advanced in one other thread.

    Yields:
        The same items in the same order. An error of the iterator is raised in its place.

    Example:
        >>> list(read_ahead(iter("abc")))
        ['a', 'b', 'c']
    """
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item
