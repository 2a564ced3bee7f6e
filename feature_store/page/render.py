"""From what is shown to one HTML file.

Words and order are in the template; the look is that of the page of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from feature_store.page.collect import ViewPage
from feature_store.page.profile import Bar
from learnloop import __version__
from learnloop.report import words

if TYPE_CHECKING:
    import jinja2

GAP = 0.18
"""The share of a bar's place that is left empty."""


def render_page(page: ViewPage) -> str:
    """Render the page of a view.

    Args:
        page: What to show.

    Returns:
        A whole HTML document without any reference to the outside.
    """
    return _environment().get_template("view.html").render(page=page, profile=page.profile)


def draw_bars(bars: Sequence[Bar], width: int, height: int, title: str) -> Markup:
    """Draw how many keys have what; each bar says so when it is pointed at.

    Args:
        bars: The bars, from left to right.
        width: The drawing's width.
        height: Its height.
        title: What it shows, for those who cannot see it.

    Returns:
        One ``<svg>`` element that uses the page's colours.
    """
    place = width / max(len(bars), 1)
    most = max((bar.keys for bar in bars), default=0) or 1
    drawn = []
    for number, bar in enumerate(bars):
        tall = bar.keys / most * (height - 2)
        tall = max(tall, 1.5) if bar.keys else 0.0
        drawn.append(
            Markup(
                '<g><title>{}: {}</title><rect class="reach" x="{:.1f}" width="{:.1f}"'
                ' height="{}"/><rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"'
                ' rx="1.5"/></g>'
            ).format(
                bar.name,
                words.count(bar.keys),
                number * place,
                place,
                height,
                (number + GAP / 2) * place,
                height - 1 - tall,
                place * (1 - GAP),
                tall,
            )
        )
    return Markup(
        '<svg class="spread" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="{}">{}<path d="M0 {}H{}"/></svg>'
    ).format(width, height, title, Markup("").join(drawn), height - 0.5, width)


def tell_age(span: timedelta | float | None) -> str:
    """Write an age as a person says it.

    Args:
        span: The age, also in seconds; None for none.

    Example:
        >>> tell_age(90), tell_age(timedelta(hours=5)), tell_age(timedelta(days=12))
        ('2 minutes', '5 hours', '12 days')
    """
    if span is None:
        return "–"
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        number = round(seconds / length)
        if number >= 2 or unit == "second":
            return f"{words.count(number)} {unit}{'' if number == 1 else 's'}"
    raise AssertionError("unreachable: the last unit is always taken")


def _since(moment: datetime | None, now: datetime) -> str:
    return "–" if moment is None else tell_age(max(now - moment, timedelta(0)))


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("feature_store.page"), jinja2.PackageLoader("learnloop.report")]
        ),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(version=__version__, draw_bars=draw_bars, since=_since)
    environment.filters.update(
        moment=words.moment, count=words.count, percent=words.percent, age=tell_age
    )
    return environment
