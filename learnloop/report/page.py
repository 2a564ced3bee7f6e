"""The page of a run: one HTML file with everything in it, for a browser without a network.

:func:`render_report` is a pure function of a view; templates hold the words and the order, this
module what they may use.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from learnloop import __version__
from learnloop.report import charts, figures, graph, words
from learnloop.report.view import RunView, verdict_of

if TYPE_CHECKING:
    import jinja2


def render_report(run: RunView) -> str:
    """Render the page of a run.

    Args:
        run: What to show.

    Returns:
        A whole HTML document without any reference to the outside.
    """
    return _environment().get_template("page.html").render(view=run, verdict=verdict_of(run))


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("learnloop.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = resources.files("learnloop.report") / "templates"
    environment.globals.update(
        version=__version__,
        style=(folder / "page.css").read_text(encoding="utf-8"),
        script=(folder / "page.js").read_text(encoding="utf-8"),
        draw_graph=graph.draw_graph,
        icon=graph.icon,
        draw_interval=charts.draw_interval,
        limits_of=figures.limits_of,
        weakest=figures.weakest,
        learning_charts=figures.learning_charts,
        roc_chart=figures.roc_chart,
        calibration_chart=figures.calibration_chart,
    )
    environment.filters.update(
        duration=words.duration,
        moment=words.moment,
        count=words.count,
        figure=words.figure,
        signed=words.signed,
        percent=words.percent,
        short=words.short,
        human=lambda name: name.replace("_", " "),
    )
    return environment
