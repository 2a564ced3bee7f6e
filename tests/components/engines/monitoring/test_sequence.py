"""Evidence that may be looked at at any time, and rarely cries wolf."""

from __future__ import annotations

import numpy as np
import pytest

from components.engines.monitoring.sequence import Evidence, e_value


def test_an_e_value_is_one_on_average_while_nothing_changes() -> None:
    """The integral of e(p) over p, with p = exp(-u): beyond u = 27 it tends to 1 / 27."""
    step = 0.001
    grid = np.arange(step / 2, 27, step)
    integral = sum(e_value(float(np.exp(-u))) * float(np.exp(-u)) for u in grid) * step
    assert integral + 1 / 27 == pytest.approx(1, abs=0.002)
    assert e_value(0.001) == pytest.approx(20.791, abs=0.001)


def test_false_alarms_are_no_more_frequent_than_said() -> None:
    random = np.random.default_rng(3)
    lengths = []
    for _ in range(200):
        evidence, length = Evidence(rate=0.02), 0
        while not evidence.is_alarm and length < 2_000:
            evidence, length = evidence.after(random.uniform(size=3).tolist()), length + 1
        lengths.append(length)
    assert np.mean(lengths) >= 1 / 0.02


def test_a_change_is_told_soon() -> None:
    evidence, windows = Evidence(rate=0.01), 0
    for _ in range(30):
        evidence = evidence.after([0.5, 0.6])
    while not evidence.is_alarm:
        evidence, windows = evidence.after([0.001, 0.4]), windows + 1
    assert windows <= 4
