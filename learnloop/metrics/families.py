"""Families of metrics, named as all of LearnLoop's are."""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily


def gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    """Make an empty family of gauges.

    Args:
        name: Its name, after ``learnloop_``.
        what: What it tells, in a sentence.
        labels: The names of its labels.
    """
    return GaugeMetricFamily(f"learnloop_{name}", what, labels=labels)
