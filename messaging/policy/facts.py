"""What a policy judges by: a few plain values, wherever they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Args:
        value: The figure, an AUC.
        low: The interval's lower end.
        high: Its upper end.
    """

    value: float
    low: float
    high: float

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what a message bears."""
        return cls(document["value"], document["low"], document["high"])

    def minus(self, other: Estimate) -> Estimate:
        """The difference of two figures that were measured on different rows.

        Args:
            other: What is taken away.

        Example:
            >>> loss = Estimate(0.80, 0.79, 0.81).minus(Estimate(0.75, 0.74, 0.76))
            >>> round(loss.value, 3), round(loss.low, 3)
            (0.05, 0.036)
        """
        value = self.value - other.value
        below = math.hypot(self.value - self.low, other.high - other.value)
        above = math.hypot(self.high - self.value, other.value - other.low)
        return Estimate(value, value - below, value + above)


@dataclass(frozen=True)
class Facts:
    """What is known at the moment of a decision.

    Args:
        now: The moment.
        last_run: When the pipeline was last run with success or is being run; None: never.
        runs_today: Runs that messages caused in the last 24 hours.
        new_rows: Labelled rows that the champion was not trained on; None: not known.
        live: The champion's AUC on the newest labelled rows; None: not known.
        evaluated: The champion's AUC in its own evaluation; None: not known.
        override: Why a person wants the run whatever the rules say; "" if nobody does.
        requested_by: Who asked first.
        is_erasure: Whether a person was erased with whom the model was trained.
    """

    now: datetime
    last_run: datetime | None = None
    runs_today: int = 0
    new_rows: int | None = None
    live: Estimate | None = None
    evaluated: Estimate | None = None
    override: str = ""
    requested_by: str = ""
    is_erasure: bool = False

    @property
    def loss(self) -> Estimate | None:
        """How much AUC the champion has lost since it was judged: what a new one may win back."""
        if self.live is None or self.evaluated is None:
            return None
        return self.evaluated.minus(self.live)
