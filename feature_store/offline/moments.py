"""The join itself: for each key and moment asked about, the row of the source that answers.

A row counts from the moment at which it had both happened and been recorded. Of the rows of the key
that count at the moment asked about, the answer is the one that happened last; of those that
happened at the same time the one recorded last; of those the last in the source.

So the answer at a moment is the greatest, in that order, of all rows that count by then: a running
maximum. It needs no sorted source. The moments asked about are sorted, per key; a row is offered to
the first moment at which it counts, which keeps the greatest row offered to it; in the end each
moment takes the greatest of its own and of the earlier moments of its key. Memory is that of the
moments; rows of the source stream past, in any order and through several hands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.int64]
EARLIEST, LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
NOBODY = -1


class Moments:
    """The moments asked about, per key in the order of time.

    Args:
        codes: The key of each entity row, numbered from 0; -1 where it has none.
        asked: The moment of each entity row.
        is_asked: Whether each entity row has a moment.
        keys: How many keys there are.
        ttl: How long a row holds after it happened, in the unit of the moments; None for ever.
    """

    def __init__(
        self,
        codes: Numbers,
        asked: Numbers,
        is_asked: NDArray[np.bool_],
        keys: int,
        ttl: int | None,
    ) -> None:
        self._ttl = ttl
        places = np.flatnonzero((codes >= 0) & is_asked)
        places = places[np.lexsort((asked[places], codes[places]))]
        code, moment = codes[places], asked[places]
        is_first = np.ones(len(places), bool)
        is_first[1:] = (code[1:] != code[:-1]) | (moment[1:] != moment[:-1])
        self._of_row = np.full(len(codes), NOBODY, np.int64)
        self._of_row[places] = np.cumsum(is_first) - 1
        self._code, self._moment = code[is_first], moment[is_first]
        counts = np.bincount(self._code, minlength=keys)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._most = int(counts.max(initial=0))
        # Of a key without moments the first is too late, and the last too early, for any row.
        has_any = np.flatnonzero(counts)
        self._first = np.full(keys, LATEST, np.int64)
        self._first[has_any] = self._moment[self._starts[:-1][has_any]]
        self._last = np.full(keys, EARLIEST, np.int64)
        self._last[has_any] = self._moment[self._starts[1:][has_any] - 1]

    def __len__(self) -> int:
        return len(self._code)

    def may_answer(self, codes: Numbers, event: Numbers, counts: Numbers) -> Numbers:
        """Leave out rows that count after the last moment of their key or end before its first.

        These are most rows, where few of many moments are asked about.

        Args:
            codes: The key of each row; -1 for rows that nobody asks about.
            event: When each happened.
            counts: From when on each counts.

        Returns:
            The places of the other rows.
        """
        if not len(self):
            return np.empty(0, np.int64)
        may = (codes >= 0) & (counts <= self._last.take(codes, mode="wrap"))
        if self._ttl is not None:
            may &= event >= self._first.take(codes, mode="wrap") - self._ttl
        return np.flatnonzero(may)

    def first_at(self, codes: Numbers, counts: Numbers) -> tuple[Numbers, Numbers]:
        """Find the first moment of its key at which each row counts, by halving, all at once.

        Args:
            codes: The key of each row, none of them -1.
            counts: From when on each counts.

        Returns:
            The place of the moment, and the place behind the key's last moment: the same where the
            row counts at no moment asked about.
        """
        place, end = self._starts.take(codes), self._starts.take(codes + 1)
        step = 1 << self._most.bit_length() >> 1
        while step:
            # Where the step would leave the key's moments it is not taken, whatever is read there.
            further = place + step
            is_before = self._moment.take(further - 1, mode="clip") < counts
            is_before &= further <= end
            place += is_before * step
            step >>= 1
        return place, end

    def holds(self, places: Numbers, event: Numbers) -> NDArray[np.bool_]:
        """Whether rows still hold at moments.

        Args:
            places: The place of a moment for each row.
            event: When each happened.
        """
        if self._ttl is None:
            return np.ones(len(places), bool)
        is_held: NDArray[np.bool_] = self._moment.take(places) - event <= self._ttl
        return is_held

    def answers(self, offers: Sequence[Offers]) -> Numbers:
        """Give the answers, once all rows were offered.

        Args:
            offers: What was offered, through each hand.

        Returns:
            For each entity row the position in the source of the row that answers; -1 for none.
        """
        event, created, row = offers[0].merged(offers[1:])
        order = np.lexsort((row, created, event))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        # With the code added, every rank of a key is above all ranks of the keys before it.
        base = self._code * len(order)
        best = order[np.maximum.accumulate(rank + base) - base]
        found = row[best]
        has_row = np.flatnonzero(found >= 0)
        found[has_row[~self.holds(has_row, event[best[has_row]])]] = NOBODY
        answers: Numbers = np.append(found, NOBODY).take(self._of_row, mode="wrap")
        return answers


class Offers:
    """The greatest row offered to each moment so far, through one hand.

    Args:
        moments: The moments.
    """

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._event = np.full(len(moments), EARLIEST, np.int64)
        self._created = np.full(len(moments), EARLIEST, np.int64)
        self._row = np.full(len(moments), NOBODY, np.int64)

    def add(
        self, first: int, codes: Numbers, event: Numbers, created: Numbers, counts: Numbers
    ) -> None:
        """Offer rows that follow one another in the source.

        Args:
            first: The position in the source of the first of them.
            codes: The key of each row; -1 for rows that nobody asks about, or that never count.
            event: When each happened.
            created: When each was recorded.
            counts: From when on each counts.
        """
        may = self._moments.may_answer(codes, event, counts)
        rows, codes, event = first + may, codes.take(may), event.take(may)
        created, counts = created.take(may), counts.take(may)
        place, end = self._moments.first_at(codes, counts)
        asked = np.flatnonzero(place < end)
        place, event = place.take(asked), event.take(asked)
        # What holds no more when it is first asked about answers nothing, and nor do older rows.
        held = np.flatnonzero(self._moments.holds(place, event))
        place, event, asked = place.take(held), event.take(held), asked.take(held)
        rows, created = rows.take(asked), created.take(asked)

        best, risen = _raise(self._event, place, event)
        self._created[risen] = EARLIEST
        self._row[risen] = NOBODY
        rows, place, created = rows.take(best), place.take(best), created.take(best)
        best, risen = _raise(self._created, place, created)
        self._row[risen] = NOBODY
        np.maximum.at(self._row, place.take(best), rows.take(best))

    def merged(self, others: Sequence[Offers]) -> tuple[Numbers, Numbers, Numbers]:
        """Take the greatest of what was offered through several hands.

        Args:
            others: The other hands.

        Returns:
            For each moment when the row happened, when it was recorded, and its position.
        """
        event, created, row = self._event, self._created, self._row
        for other in others:
            is_later = (other._created > created) | (
                (other._created == created) & (other._row > row)
            )
            is_later = (other._event > event) | ((other._event == event) & is_later)
            event = np.where(is_later, other._event, event)
            created = np.where(is_later, other._created, created)
            row = np.where(is_later, other._row, row)
        return event, created, row


def _raise(best: Numbers, place: Numbers, offered: Numbers) -> tuple[Numbers, Numbers]:
    """Raise each place to the greatest offered there.

    Returns:
        Which offers are the greatest now, and the places that rose.
    """
    before = best.take(place)
    np.maximum.at(best, place, offered)
    after = best.take(place)
    return np.flatnonzero(offered == after), place.take(np.flatnonzero(after > before))
