"""The two panels that all dashboards are made of, and the dashboard around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, stat, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BigValueTextMode,
    LegendDisplayMode,
    LegendPlacement,
)
from grafana_foundation_sdk.models.dashboard import Dashboard, DataSourceRef, Panel

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
"""The data source of ``provisioning/datasources``."""

HEIGHT = 8
AnyPanel = TypeVar("AnyPanel", timeseries.Panel, stat.Panel)


@dataclass(frozen=True)
class Query:
    """A line, or several of one kind.

    Args:
        expression: PromQL.
        legend: What a line is called; labels in double braces.
    """

    expression: str
    legend: str


def curve(title: str, unit: str, what: str, *queries: Query, span: int = 8) -> timeseries.Panel:
    """Draw figures over time.

    Args:
        title: What is seen.
        unit: Grafana's name of the unit.
        what: How to read it, in a sentence.
        queries: The lines.
        span: Columns of the dashboard's twenty-four.
    """
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    panel = (
        timeseries.Panel()
        .min(0)
        .legend(legend.placement(LegendPlacement.BOTTOM).show_legend(True).calcs([]))
    )
    return _filled(panel, title, unit, what, span, _targets(queries, is_instant=False))


def figure(title: str, unit: str, what: str, *queries: Query, span: int = 4) -> stat.Panel:
    """Show figures as they are now.

    Args:
        title: What is seen.
        unit: Grafana's name of the unit.
        what: How to read it, in a sentence.
        queries: The figures.
        span: Columns of the dashboard's twenty-four.
    """
    panel = (
        stat.Panel()
        .text_mode(BigValueTextMode.VALUE_AND_NAME)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _filled(panel, title, unit, what, span, _targets(queries, is_instant=True))


def board(name: str, title: str, hours: int, panels: Sequence[Builder[Panel]]) -> Dashboard:
    """Put panels on a dashboard, row by row.

    Args:
        name: The dashboard's part of an address.
        title: Its title.
        hours: How far back it looks at first.
        panels: Panels in the order in which they are read.
    """
    made = (
        dashboard.Dashboard(title)
        .uid(name)
        .tags(["learnloop"])
        .timezone("browser")
        .refresh("1m")
        .time(f"now-{hours}h", "now")
        .readonly()
    )
    for panel in panels:
        made = made.with_panel(panel)
    return made.build()


def _filled(
    panel: AnyPanel, title: str, unit: str, what: str, span: int, targets: Sequence[Dataquery]
) -> AnyPanel:
    panel = panel.title(title).description(what).unit(unit)
    panel = panel.datasource(SOURCE).height(HEIGHT).span(span)
    for target in targets:
        panel = panel.with_target(target)
    return panel


def _targets(queries: Sequence[Query], *, is_instant: bool) -> list[Dataquery]:
    return [
        (made.instant() if is_instant else made.range())
        for letter, query in zip("ABCDEF", queries, strict=False)
        for made in [Dataquery().ref_id(letter).expr(query.expression).legend_format(query.legend)]
    ]
