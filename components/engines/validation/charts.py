"""Small inline SVG charts of TFDV statistics: a column's distribution in every split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from components.engines.validation.checks import figure, shorten

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0.statistics_pb2 import FeatureNameStatistics, Histogram

WIDTH, HEIGHT = 300, 96
_MOST_BARS = 8
_ROW = 18
_LABEL = 104


def distribution(by_split: Mapping[str, FeatureNameStatistics], splits: Sequence[str]) -> str:
    """Draw one column: text as bars by value, numbers as histograms, one series per split.

    Args:
        by_split: The column's statistics, of the splits that have it.
        splits: All splits, in the order of the colours.

    Returns:
        An ``<svg>`` element; a paragraph where there is nothing to draw.
    """
    numbers = {
        split: _standard(feature)
        for split, feature in by_split.items()
        if feature.WhichOneof("stats") == "num_stats" and feature.num_stats.histograms
    }
    numbers = {split: bars for split, bars in numbers.items() if bars}
    if numbers:
        return _histogram(numbers, splits)
    shares = {split: _shares(feature) for split, feature in by_split.items()}
    shares = {split: values for split, values in shares.items() if values}
    if shares:
        return _bars(shares, splits)
    return '<p class="muted">No distribution to show.</p>'


def colour(split: str, splits: Sequence[str]) -> str:
    """The CSS class of a split's colour; the fourth serves all further ones."""
    return f"s{min(splits.index(split), 3)}"


def _standard(feature: FeatureNameStatistics) -> list[Histogram.Bucket]:
    """The equal-width histogram's finite bars."""
    for histogram in feature.num_stats.histograms:
        if histogram.type == histogram.STANDARD:
            return [
                bar for bar in histogram.buckets if abs(bar.low_value) + abs(bar.high_value) < 1e300
            ]
    return []


def _histogram(series: Mapping[str, Sequence[Histogram.Bucket]], splits: Sequence[str]) -> str:
    """Draw densities, so that splits of other sizes and other bars can lie over each other."""
    low = min(bar.low_value for bars in series.values() for bar in bars)
    high = max(bar.high_value for bars in series.values() for bar in bars)
    span = (high - low) or 1.0
    floor = HEIGHT - 14
    densities = {split: _densities(bars, span) for split, bars in series.items()}
    peak = max(density for values in densities.values() for density in values) or 1.0
    shapes = []
    for split, bars in series.items():
        points = [f"0,{floor}"]
        for bar, density in zip(bars, densities[split], strict=True):
            y = floor - density / peak * (floor - 4)
            left = (bar.low_value - low) / span * WIDTH if high > low else 0.0
            right = (bar.high_value - low) / span * WIDTH if high > low else WIDTH
            points += [f"{left:.1f},{y:.1f}", f"{right:.1f},{y:.1f}"]
        points.append(f"{points[-1].partition(',')[0]},{floor}")
        points[0] = f"{points[1].partition(',')[0]},{floor}"
        shapes.append(
            f'<polygon class="{colour(split, splits)}" points="{" ".join(points)}">'
            f"<title>{escape(split)}</title></polygon>"
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(shapes)}'
        f'<line class="axis" x1="0" y1="{floor}" x2="{WIDTH}" y2="{floor}"/>'
        f'<text x="0" y="{HEIGHT - 2}">{figure(low)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 2}" text-anchor="end">{figure(high)}</text></svg>'
    )


def _densities(bars: Sequence[Histogram.Bucket], span: float) -> list[float]:
    total = sum(bar.sample_count for bar in bars) or 1.0
    return [
        bar.sample_count / total / max((bar.high_value - bar.low_value) / span, 1e-3)
        for bar in bars
    ]


def _shares(feature: FeatureNameStatistics) -> dict[str, float]:
    """The share of each of the most frequent values among all values."""
    text = feature.string_stats
    total = text.common_stats.tot_num_values
    return {bar.label: bar.sample_count / total for bar in text.rank_histogram.buckets if total}


def _bars(series: Mapping[str, Mapping[str, float]], splits: Sequence[str]) -> str:
    """Draw one row per value, with one thin bar per split in it."""
    combined: dict[str, float] = {}
    for shares in series.values():
        for value, share in shares.items():
            combined[value] = combined.get(value, 0.0) + share
    values = sorted(combined, key=lambda value: (-combined[value], value))
    peak = max(share for shares in series.values() for share in shares.values())
    thin = (_ROW - 6) / len(series)
    shapes = []
    for row, value in enumerate(values[:_MOST_BARS]):
        top = row * _ROW + 3
        shapes.append(
            f'<text x="{_LABEL - 6}" y="{top + 9}" text-anchor="end">'
            f"{escape(shorten(value, 17) or '(empty)')}<title>{escape(value)}</title></text>"
        )
        for position, (split, shares) in enumerate(series.items()):
            share = shares.get(value, 0.0)
            width = share / peak * (WIDTH - _LABEL - 46)
            y, label = top + position * thin, f"{escape(split)}: {100 * share:.3g} %"
            shapes.append(
                f'<rect class="{colour(split, splits)} solid" x="{_LABEL}" y="{y:.1f}" '
                f'width="{width:.1f}" height="{max(thin - 0.5, 1):.1f}" rx="1">'
                f"<title>{label}</title></rect>"
            )
        first = next(iter(series.values())).get(value, 0.0)
        shapes.append(
            f'<text x="{WIDTH}" y="{top + 9}" text-anchor="end">{100 * first:.3g} %</text>'
        )
    height = min(len(values), _MOST_BARS) * _ROW + (14 if len(values) > _MOST_BARS else 0)
    if len(values) > _MOST_BARS:
        rest = f"and {len(values) - _MOST_BARS:,} more values"
        shapes.append(f'<text class="muted" x="{_LABEL}" y="{height - 3}">{rest}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join(shapes)}</svg>'
