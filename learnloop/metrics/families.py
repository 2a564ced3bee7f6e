"""Families of metrics, named as all of LearnLoop's are."""

from __future__ import annotations

from datetime import datetime

from prometheus_client.core import GaugeMetricFamily

from learnloop.ledger.rows import aware


def gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    """Make an empty family of gauges.

    Args:
        name: Its name, after ``learnloop_``.
        what: What it tells, in a sentence.
        labels: The names of its labels.
    """
    return GaugeMetricFamily(f"learnloop_{name}", what, labels=labels)


def seconds_of(moment: datetime) -> float:
    """Tell the seconds since 1970 of a moment that the ledger has.

    Args:
        moment: The moment, as the database gave it.
    """
    known = aware(moment)
    assert known is not None
    return known.timestamp()
