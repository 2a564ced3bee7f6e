"""The page that Prometheus scrapes: every source asked anew, and one that fails said to."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from learnloop.access import explain_taken_port
from learnloop.metrics.disk import describe_disk
from learnloop.metrics.families import gauge
from learnloop.metrics.monitors import describe_monitors
from learnloop.metrics.records import describe_runs
from learnloop.settings import Settings

Source = Callable[[Settings], Iterable[Metric]]

SOURCES: Mapping[str, Source] = {
    "runs": describe_runs,
    "monitors": describe_monitors,
    "disk": describe_disk,
}
"""The framework's own. Other packages add theirs by the entry point ``learnloop.metrics``."""

log = logging.getLogger(__name__)


class RecordCollector(Collector):
    """Asks every source whenever Prometheus asks.

    Args:
        settings: What the sources read.
        sources: By name; those of the framework and of installed packages if None.
    """

    def __init__(self, settings: Settings, sources: Mapping[str, Source] | None = None) -> None:
        self._settings = settings
        self._sources = installed_sources() if sources is None else sources

    def collect(self) -> Iterator[Metric]:
        """Give what the sources tell, and which of them could."""
        up = gauge("metrics_source_up", "1 if the source could be read for this page.", "source")
        for name, source in self._sources.items():
            told: tuple[Metric, ...] = ()
            try:
                told = tuple(source(self._settings))
            except Exception as fault:  # one that fails must not hide the others
                log.warning("The source '%s' cannot be read: %s", name, fault)
                up.add_metric([name], 0)
            else:
                up.add_metric([name], 1)
            yield from told
        yield up


def installed_sources() -> Mapping[str, Source]:
    """Find the framework's sources and those that installed packages add."""
    points = importlib.metadata.entry_points(group="learnloop.metrics")
    return {**SOURCES, **{point.name: point.load() for point in points}}


@contextlib.contextmanager
def serving_metrics(settings: Settings, port: int, host: str) -> Iterator[int]:
    """Serve the page for the length of a ``with`` block.

    Args:
        settings: What the sources read.
        port: The port; 0 for any.
        host: The interface.

    Yields:
        The port.

    Raises:
        UsageError: The port is taken.
    """
    registry = CollectorRegistry()
    registry.register(RecordCollector(settings))
    with explain_taken_port("the metrics", host, port, next="learnloop metrics --port 0"):
        server, thread = start_http_server(port, host, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
