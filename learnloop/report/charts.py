"""Line charts and interval strips as SVG that takes its colours from the page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

WIDTH, HEIGHT = 520, 340
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 46
STRIP_WIDTH, STRIP_HEIGHT = 190, 18

Range = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: What it shows, for the legend.
        x: Horizontal values.
        y: Vertical values.
        style: One of the page's line styles.
        weights: Area of a dot at each point, 0 to 1; no dots when empty.
        told: What each point says when it is pointed at; nothing when empty.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: Literal["first", "second", "plain"] = "first"
    weights: Sequence[float] = ()
    told: Sequence[str] = ()


@dataclass(frozen=True)
class Chart:
    """A chart of lines over two linear axes.

    Attributes:
        title: What it shows, in words, for those who cannot see it.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        lines: The lines; the later are drawn above the earlier.
        x_range: Horizontal limits; from the data when None.
        y_range: Vertical limits; from the data when None.
        x_step: The least distance of horizontal ticks, 1 where values are whole.
        has_diagonal: Whether to draw the line where both are equal.
        mark: A horizontal value to mark.
        mark_label: What is marked there.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    x_range: Range | None = None
    y_range: Range | None = None
    x_step: float = 0.0
    has_diagonal: bool = False
    mark: float | None = None
    mark_label: str = ""


def draw_chart(chart: Chart) -> Markup:
    """Draw a chart with its legend.

    Args:
        chart: What to draw.

    Returns:
        A ``<figure>``.
    """
    x_range = chart.x_range or _range_of([x for line in chart.lines for x in line.x], pad=0.0)
    y_range = chart.y_range or _range_of([y for line in chart.lines for y in line.y], pad=0.06)
    axes = _Axes(x_range, y_range)
    legend = Markup("").join(
        Markup('<span class="key {}"><i></i>{}</span>').format(line.style, line.name)
        for line in chart.lines
    )
    parts = [axes.grid(chart.x_label, chart.y_label, chart.x_step)]
    if chart.has_diagonal:
        low, high = max(x_range[0], y_range[0]), min(x_range[1], y_range[1])
        parts.append(axes.path([low, high], [low, high], "diagonal"))
    if chart.mark is not None:
        parts.append(axes.mark(chart.mark, chart.mark_label))
    parts += [axes.line(line) for line in chart.lines]
    points = [point for line in chart.lines for point in axes.told(line)]
    return Markup(
        '<figure class="chart"><figcaption>{legend}</figcaption>'
        '<svg viewBox="0 0 {width} {height}" role="img" data-points="{points}">'
        "<title>{title}</title>{parts}</svg></figure>"
    ).format(
        legend=legend,
        width=WIDTH,
        height=HEIGHT,
        points=json.dumps(points, separators=(",", ":")),
        title=chart.title,
        parts=Markup("").join(parts),
    )


def draw_interval(
    value: float, interval: Range | None, limits: Range, reference: float | None = None
) -> Markup:
    """Draw a value with its interval on a strip, for comparing the rows of a table by eye.

    Args:
        value: The value.
        interval: Its lower and upper end, where there are any.
        limits: What the strip's ends stand for; equal in all rows.
        reference: A value to compare with, drawn as a line across.

    Returns:
        One ``<svg>`` element.
    """

    def at(number: float) -> float:
        share = (number - limits[0]) / (limits[1] - limits[0])
        return 4 + min(max(share, 0.0), 1.0) * (STRIP_WIDTH - 8)

    low, high = interval or (value, value)
    across = (
        Markup('<path class="reference" d="M{:.1f} 0V{}"/>').format(at(reference), STRIP_HEIGHT)
        if reference is not None
        else Markup("")
    )
    return Markup(
        '<svg class="strip" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'aria-hidden="true">{across}<path class="interval" d="M{low:.1f} {middle}H{high:.1f}"/>'
        '<circle cx="{value:.1f}" cy="{middle}" r="4.2"/></svg>'
    ).format(
        width=STRIP_WIDTH,
        height=STRIP_HEIGHT,
        across=across,
        low=at(low),
        high=at(high),
        middle=STRIP_HEIGHT / 2,
        value=at(value),
    )


def ticks(limits: Range, most: int = 6, least_step: float = 0.0) -> list[float]:
    """Choose round values between two limits.

    Args:
        limits: The lower and upper end.
        most: The most values wanted.
        least_step: The least distance between two of them.

    Returns:
        Round values, ascending.

    Example:
        >>> ticks((0.0, 1.0))
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = limits[1] - limits[0]
    magnitude = 10.0 ** math.floor(math.log10(span / most))
    step = next(
        magnitude * factor
        for factor in (1, 2, 2.5, 5, 10, 20)
        if span / (magnitude * factor) <= most
    )
    step = max(step, least_step)
    first = math.ceil(limits[0] / step - 1e-9)
    last = math.floor(limits[1] / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


class _Axes:
    """Where values stand in a drawing."""

    def __init__(self, x_range: Range, y_range: Range) -> None:
        self._x, self._y = x_range, y_range

    def at_x(self, value: float) -> float:
        share = (value - self._x[0]) / (self._x[1] - self._x[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def at_y(self, value: float) -> float:
        share = (value - self._y[0]) / (self._y[1] - self._y[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def grid(self, x_label: str, y_label: str, x_step: float) -> Markup:
        across = [
            Markup(
                '<path class="grid" d="M{} {y:.1f}H{}"/>'
                '<text class="tick end" x="{}" y="{text:.1f}">{:g}</text>'
            ).format(
                LEFT, WIDTH - RIGHT, LEFT - 8, tick, y=self.at_y(tick), text=self.at_y(tick) + 4
            )
            for tick in ticks(self._y)
        ]
        down = [
            Markup('<text class="tick middle" x="{:.1f}" y="{}">{:g}</text>').format(
                self.at_x(tick), HEIGHT - BOTTOM + 18, tick
            )
            for tick in ticks(self._x, least_step=x_step)
        ]
        labels = Markup(
            '<text class="axis middle" x="{}" y="{}">{}</text>'
            '<text class="axis middle" transform="translate(13 {}) rotate(-90)">{}</text>'
        ).format(
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, (TOP + HEIGHT - BOTTOM) / 2, y_label
        )
        return Markup("").join([*across, *down, labels])

    def path(self, x: Sequence[float], y: Sequence[float], style: str) -> Markup:
        steps = " ".join(
            f"{self.at_x(left):.1f} {self.at_y(up):.1f}" for left, up in zip(x, y, strict=True)
        )
        return Markup('<path class="line {}" d="M{}"/>').format(style, steps)

    def line(self, line: Line) -> Markup:
        dots = [
            Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(
                line.style, self.at_x(x), self.at_y(y), 2.5 + 5.0 * math.sqrt(weight)
            )
            for x, y, weight in zip(line.x, line.y, line.weights, strict=False)
        ]
        return Markup("").join([self.path(line.x, line.y, line.style), *dots])

    def told(self, line: Line) -> list[tuple[float, float, str]]:
        return [
            (round(self.at_x(x), 1), round(self.at_y(y), 1), text)
            for x, y, text in zip(line.x, line.y, line.told, strict=False)
        ]

    def mark(self, value: float, label: str) -> Markup:
        x = self.at_x(value)
        is_left = x < (LEFT + WIDTH - RIGHT) / 2
        return Markup(
            '<path class="marked" d="M{x:.1f} {}V{}"/>'
            '<text class="tick {side}" x="{text:.1f}" y="{}">{label}</text>'
        ).format(
            TOP,
            HEIGHT - BOTTOM,
            TOP + 11,
            x=x,
            side="" if is_left else "end",
            text=x + (6 if is_left else -6),
            label=label,
        )


def _range_of(values: Sequence[float], pad: float) -> Range:
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        return low - 0.5, high + 0.5
    margin = (high - low) * pad
    return low - margin, high + margin
