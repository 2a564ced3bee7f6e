"""What the monitors last saw of each model: the figures that stand beside the newest report.

The monitor writes them for Prometheus (``learnloop_monitor_…``); here they are read out of the
store and told as they are, so that no file has to be carried anywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from learnloop.artifacts import MonitoringReport
from learnloop.ledger import open_ledger
from learnloop.ledger.tables import artifacts, executions, runs
from learnloop.metrics.families import gauge, seconds_of
from learnloop.settings import Settings
from learnloop.store import open_store

FIGURES = "metrics.prom"
_MOST_REPORTS = 1_000
"""How far back is looked for a model's newest report."""

_REPORTS = (
    sa.select(
        runs.c.parameters["model"].as_string().label("model"), artifacts.c.uri, executions.c.ended
    )
    .join(executions, executions.c.id == artifacts.c.execution_id)
    .join(runs, runs.c.id == executions.c.run_id)
    .where(artifacts.c.type == MonitoringReport.reference(), executions.c.location.is_not(None))
    .where(executions.c.ended.is_not(None))
    .order_by(executions.c.ended.desc())
    .limit(_MOST_REPORTS)
)


def describe_monitors(settings: Settings) -> Iterable[Metric]:
    """Tell what the newest report of each model tells, and when it was made.

    Args:
        settings: Names the ledger and the store.

    Raises:
        LearnLoopError: The ledger or the store does not answer.
    """
    if not settings.has_ledger:
        return ()
    with open_ledger(settings.ledger_url).reading() as connection:
        rows = connection.execute(_REPORTS).all()
    made = gauge(
        "monitor_made_timestamp_seconds",
        "When the newest report was made, in seconds since 1970.",
        "model",
    )
    families: dict[str, Metric] = {}
    for model, row in {row.model: row for row in reversed(rows)}.items():
        made.add_metric([model or ""], seconds_of(row.ended))
        page = _read_figures(settings.store_location, str(settings.home_folder), row.uri)
        for found in text_string_to_metric_families(page):
            family = families.setdefault(
                found.name, GaugeMetricFamily(found.name, found.documentation)
            )
            family.samples.extend(found.samples)
    return (made, *families.values())


@functools.lru_cache(maxsize=64)
def _read_figures(store: str, home: str, uri: str) -> str:
    """Read a report's figures once: what is published never changes."""
    return (open_store(store, home).fetch(uri) / FIGURES).read_text(encoding="utf-8")
