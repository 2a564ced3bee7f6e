"""What the collector counts, as Prometheus reads it. No label ever names a learner."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge


class EventCounts:
    """The collector's metrics, in a registry of their own.

    Attributes:
        registry: What an exporter serves.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._collected = self._counter("collected", "Events written to durable parts.", "kind")
        self._repeated = self._counter("repeated", "Repeated sendings, dropped.")
        self._quarantined = self._counter("quarantined", "Messages that are no events.")
        self._erased = self._counter("erased", "Events of learners who were erased, left out.")
        self._lag = Gauge(
            "learnloop_events_lag",
            "Events in Kafka that are not collected yet.",
            ["partition"],
            registry=self.registry,
        )
        self._newest = Gauge(
            "learnloop_events_newest_seconds",
            "When the newest collected event happened, in seconds since 1970.",
            registry=self.registry,
        )

    def collected(
        self,
        by_kind: Mapping[str, int],
        *,
        repeated: int,
        quarantined: int,
        erased: int,
        newest: datetime | None,
    ) -> None:
        """Count a write.

        Args:
            by_kind: Events by kind.
            repeated: Repeated sendings among the messages.
            quarantined: Messages that are no events.
            erased: Events of learners who were erased.
            newest: When the newest event happened.
        """
        for kind, count in by_kind.items():
            self._collected.labels(kind).inc(count)
        self._repeated.inc(repeated)
        self._quarantined.inc(quarantined)
        self._erased.inc(erased)
        if newest is not None:
            self._newest.set(newest.timestamp())

    def lagging(self, partition: int, events: int) -> None:
        """Tell how many events of a partition wait in Kafka."""
        self._lag.labels(str(partition)).set(events)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"learnloop_events_{name}", what, labels, registry=self.registry)
