"""Random numbers that are pure functions of (seed, stream, subject, position).

A counter-based generator: a number is computed from its place, never from the number before it.
So the data of a learner depend neither on how many learners are simulated together nor on the
order or the thread they are simulated in, and switching a fault on changes nothing but its effect.
The mixing function is SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
generators", OOPSLA).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

_STEP = 0x9E3779B97F4A7C15
_WORD = 2**64 - 1


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit words in place, so that neighbouring counters give unrelated numbers."""
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state


@dataclass(frozen=True)
class Draws:
    """One independent sequence of random numbers per subject (learner, enrolment, skill …).

    Args:
        keys: One word per subject, uint64 [subjects].
    """

    keys: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, seed: int, stream: str, subjects: Integers) -> Draws:
        """Give each subject its sequence.

        Args:
            seed: The seed of the simulation.
            stream: What the numbers are for; each stream is independent of the others.
            subjects: The subjects' numbers, int64 [subjects].

        Example:
            >>> one = Draws.of(7, "ability", np.array([3])).uniform(0)
            >>> many = Draws.of(7, "ability", np.arange(5)).uniform(0)
            >>> bool(one[0] == many[3])
            True
        """
        digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest()
        start = np.uint64(int.from_bytes(digest, "little"))
        return cls(_mix(subjects.astype(np.uint64) * np.uint64(_STEP) + start))

    def rows(self, chosen: slice | Integers) -> Draws:
        """Return the sequences of some of the subjects."""
        return Draws(self.keys[chosen])

    def uniform(self, position: int | Integers) -> Floats:
        """Return the numbers at a position, uniform in the open interval (0, 1).

        Args:
            position: One place for all subjects, or an array that broadcasts against them.

        Returns:
            float64, in the shape that ``keys`` and ``position`` broadcast to.
        """
        if isinstance(position, int):
            offset: np.uint64 | npt.NDArray[np.uint64] = np.uint64((position + 1) * _STEP & _WORD)
        else:
            offset = (position.astype(np.uint64) + np.uint64(1)) * np.uint64(_STEP)
        words = _mix(self.keys + offset)
        numbers = (words >> np.uint64(11)).astype(np.float64)
        numbers *= 2.0**-53
        numbers += 2.0**-54
        return numbers

    @property
    def column(self) -> Draws:
        """The same sequences as a column, [subjects, 1], to broadcast against positions."""
        return Draws(self.keys[:, None])

    def grid(self, columns: int, first: int = 0) -> Floats:
        """Return uniform numbers of consecutive positions, float64 [subjects, columns]."""
        return self.column.uniform(np.arange(first, first + columns))

    def normal(self, position: int | Integers) -> Floats:
        """Return standard normal numbers (Box-Muller); uses positions 2p and 2p + 1."""
        radius = np.sqrt(-2.0 * np.log(self.uniform(position * 2)))
        return np.asarray(radius * np.cos(2.0 * np.pi * self.uniform(position * 2 + 1)))

    def choice(self, position: int | Integers, shares: tuple[float, ...]) -> Integers:
        """Return one category per subject, drawn with the given shares."""
        bounds = np.cumsum(shares)[:-1] / sum(shares)
        return np.searchsorted(bounds, self.uniform(position), side="right").astype(np.int64)


def sigmoid(logits: Floats) -> Floats:
    """Return the logistic function of the logits."""
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def geometric(numbers: Floats, mean: float | Floats) -> Integers:
    """Turn uniform numbers into counts 0, 1, 2 … of a geometric distribution with this mean."""
    stay = np.asarray(mean) / (1.0 + np.asarray(mean))
    return np.asarray(np.log(numbers) / np.log(stay)).astype(np.int64)
