"""Reading ahead: one item ahead and no more, errors in their place."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from components.engines.readers.ahead import read_ahead


def test_the_next_item_is_made_while_the_present_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    ahead = read_ahead(items())
    assert next(ahead) == 0
    assert made[1].wait(10)
    assert not made[2].wait(0.05)
    assert list(ahead) == [1, 2]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)


def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    ahead = read_ahead(iter(range(10)))
    assert next(ahead) == 0
    ahead.close()
    assert threading.active_count() == before
