"""Watching window after window without crying wolf: evidence that may be looked at any time.

Each window's p-value is turned into an e-value, whose expectation is at most one while nothing has
changed, and the Shiryaev-Roberts sum of their running products is the evidence of a change at some
unknown moment. It reaches ``1 / rate`` by mistake no sooner than every ``1 / rate`` windows on
average, however long one watches.

Sources: Vovk and Wang, "E-values: calibration, combination and applications", Annals of Statistics
49 (2021), for the calibrator; Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for
sequential change detection", New England Journal of Statistics in Data Science (2023), for the
bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SMALLEST = 1e-12


@dataclass(frozen=True)
class Evidence:
    """The evidence of a change after some windows.

    Args:
        rate: False alarms a window that are put up with, on average.
        value: The evidence so far.
    """

    rate: float = 0.01
    value: float = 0.0

    @property
    def is_alarm(self) -> bool:
        """Whether the evidence is enough to tell."""
        return self.value >= 1 / self.rate

    def after(self, probabilities: Sequence[float]) -> Evidence:
        """Take in a window.

        Args:
            probabilities: P-values of its columns, in any dependence: the mean of their e-values
                is an e-value again.

        Returns:
            The evidence with this window.
        """
        fresh = sum(e_value(one) for one in probabilities) / len(probabilities)
        return Evidence(self.rate, (self.value + 1) * fresh)


def e_value(probability: float) -> float:
    """Turn a p-value into an e-value, by the mixture of all power calibrators.

    Args:
        probability: A p-value, 0 to 1.

    Returns:
        ``(1 - p + p ln p) / (p (ln p)^2)``; a half for 1, its limit.

    Example:
        >>> round(e_value(0.001), 2)
        20.79
    """
    p = max(probability, SMALLEST)
    if p > 1 - 1e-6:
        return 0.5
    log = math.log(p)
    return (1 - p + p * log) / (p * log * log)
