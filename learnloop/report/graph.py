"""The graph of steps, drawn from left to right: what waits for what, how each ended, how long.

Steps stand in layers by their longest way from a start; within a layer they are ordered by where
their neighbours stand, so that few lines cross (Sugiyama, Tagawa & Toda 1981). A line that others
imply is not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from learnloop.report.view import StepView
from learnloop.report.words import duration

BOX_HEIGHT, ROW, LETTER = 66, 90, 7.9
WIDEST_BOX, NARROWEST_BOX, GAP = 176, 92, 22
DRAWING_WIDTH, MARGIN = 1068, 2
SWEEPS = 4

ICONS: Mapping[str, str] = {
    "done": "M-4 0 L-1 3.2 L4.4 -3.2",
    "cached": "M3.4 -2.6 A4.2 4.2 0 1 0 4.2 1 M3.9 -4.8 L3.6 -2.2 L1 -2.6",
    "refused": "M-3 -3 L3 3 M3 -3 L-3 3",
    "failed": "M-3 -3 L3 3 M3 -3 L-3 3",
    "running": "M-4 0 h.1 M0 0 h.1 M4 0 h.1",
    "pending": "M-3.4 0 H3.4",
    "skipped": "M-3.4 0 H3.4",
    "cancelled": "M-2.6 -2.6 H2.6 V2.6 H-2.6 Z",
}
"""A stroke for each status, about a centre, so that colour is never all that tells it."""


@dataclass
class _Place:
    """Where a step, or a long line on its way past a layer, stands."""

    layer: int
    order: float
    waits_for: list[str]
    is_step: bool = True


def draw_graph(steps: Sequence[StepView], edges: Sequence[tuple[str, str]]) -> Markup:
    """Draw the steps and what they wait for as SVG.

    Args:
        steps: The steps, in the graph's order.
        edges: Pairs of step names: from, to.

    Returns:
        One ``<svg>`` element that uses the page's colours.
    """
    before = _without_implied({step.name: set() for step in steps}, edges)
    places = _lay_out([step.name for step in steps], before)
    layers = 1 + max((place.layer for place in places.values()), default=0)
    tallest = max(
        (sum(p.layer == layer for p in places.values()) for layer in range(layers)), default=1
    )
    fitting = (DRAWING_WIDTH - 2 * MARGIN + GAP) / layers - GAP
    box = max(min(fitting, WIDEST_BOX), NARROWEST_BOX)
    pitch = box + (GAP if fitting <= WIDEST_BOX else 2 * GAP)
    width = pitch * (layers - 1) + box + 2 * MARGIN
    height = ROW * (tallest - 1) + BOX_HEIGHT + 2 * MARGIN
    at = {
        name: (
            MARGIN + place.layer * pitch,
            MARGIN + BOX_HEIGHT / 2 + ROW * (place.order + (tallest - _count(places, place)) / 2),
        )
        for name, place in places.items()
    }
    lines = Markup("").join(_line(name, places, at, box) for name in places if places[name].is_step)
    boxes = Markup("").join(_box(step, *at[step.name], box) for step in steps)
    words = "; ".join(f"{step.name}: {step.status}" for step in steps)
    return Markup(
        '<svg class="graph" role="img" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" '
        'height="{h:.0f}"><title>Graph of steps. {words}</title>{lines}{boxes}</svg>'
    ).format(w=width, h=height, words=words, lines=lines, boxes=boxes)


def icon(status: str) -> Markup:
    """Draw the sign of a status, for a line of text."""
    return Markup(
        '<svg class="sign {status}" viewBox="-8 -8 16 16" width="16" height="16" '
        'aria-hidden="true"><circle r="7.4"/><path d="{path}"/></svg>'
    ).format(status=status, path=ICONS[status])


def _without_implied(
    before: dict[str, set[str]], edges: Sequence[tuple[str, str]]
) -> dict[str, set[str]]:
    """Keep the edges that no longer way between the same steps implies."""
    for start, end in edges:
        before[end].add(start)
    reach: dict[str, set[str]] = {}

    def reached(name: str) -> set[str]:
        if name not in reach:
            reach[name] = set().union(*({up} | reached(up) for up in before[name]))
        return reach[name]

    return {
        name: {up for up in ups if not any(up in reached(other) for other in ups - {up})}
        for name, ups in before.items()
    }


def _lay_out(names: Sequence[str], before: Mapping[str, set[str]]) -> dict[str, _Place]:
    layer: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in layer:
            layer[name] = 1 + max((depth(up) for up in before[name]), default=-1)
        return layer[name]

    places = {name: _Place(depth(name), 0.0, []) for name in names}
    for name in names:
        for up in sorted(before[name], key=names.index):
            previous = up
            for between in range(layer[up] + 1, layer[name]):
                passing = f"{up} > {name} at {between}"
                places[passing] = _Place(between, 0.0, [previous], is_step=False)
                previous = passing
            places[name].waits_for.append(previous)
    _order(places)
    return places


def _order(places: dict[str, _Place]) -> None:
    """Order every layer by the mean place of what its members are joined to."""
    after: dict[str, list[str]] = {name: [] for name in places}
    for name, place in places.items():
        for up in place.waits_for:
            after[up].append(name)
    layers = range(1 + max((place.layer for place in places.values()), default=-1))
    members = {at: [n for n, place in places.items() if place.layer == at] for at in layers}
    for names in members.values():
        for position, name in enumerate(names):
            places[name].order = position
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for at in layers if forward else reversed(layers):
            joined = {n: places[n].waits_for if forward else after[n] for n in members[at]}
            mean = {
                n: sum(places[m].order for m in others) / len(others) if others else places[n].order
                for n, others in joined.items()
            }
            members[at].sort(key=lambda name: (mean[name], places[name].order))
            for position, name in enumerate(members[at]):
                places[name].order = position


def _count(places: Mapping[str, _Place], place: _Place) -> int:
    return sum(other.layer == place.layer for other in places.values())


def _line(
    name: str,
    places: Mapping[str, _Place],
    at: Mapping[str, tuple[float, float]],
    box: float,
) -> Markup:
    """Draw every way that leads into a step, as one smooth line each."""
    drawn = []
    for previous in places[name].waits_for:
        x, y = at[name]
        path = f"M{x:.1f} {y:.1f}"
        while True:
            far_x, far_y = at[previous]
            end = far_x + box
            bend = (x + end) / 2
            path += f" C{bend:.1f} {y:.1f} {bend:.1f} {far_y:.1f} {end:.1f} {far_y:.1f}"
            if places[previous].is_step:
                break
            path += f" H{far_x:.1f}"
            (x, y), (previous,) = (far_x, far_y), places[previous].waits_for
        drawn.append(Markup('<path class="edge" d="{}"/>').format(path))
    return Markup("").join(drawn)


def _box(step: StepView, x: float, y: float, width: float) -> Markup:
    first, second = _in_two_lines(step.name, int((width - 16) / LETTER))
    told = {"done": duration(step.seconds), "cached": "reused"}.get(step.status, step.status)
    return Markup(
        '<a class="box {status}" href="#step-{whole}" transform="translate({x:.1f} {y:.1f})">'
        "<title>{whole}: {status}, {took}</title>"
        '<rect width="{width:.1f}" height="{height}" y="{top}" rx="9"/>'
        '<text x="11" y="{high}" class="name">{first}<tspan x="11" dy="15">{second}</tspan></text>'
        '<g transform="translate(18 18)" class="sign {status}"><circle r="7.4"/>'
        '<path d="{path}"/></g><text x="30" y="22" class="told">{told}</text></a>'
    ).format(
        status=step.status,
        whole=step.name,
        took=duration(step.seconds),
        x=x,
        y=y,
        width=width,
        height=BOX_HEIGHT,
        top=-BOX_HEIGHT / 2,
        high=-12 if second else -6,
        first=first,
        second=second,
        path=ICONS[step.status],
        told=told,
    )


def _in_two_lines(name: str, letters: int) -> tuple[str, str]:
    """Break a name that is too long for its box after an underscore, and cut what is left over."""
    if len(name) <= letters:
        return name, ""
    end = name.rfind("_", 0, letters) + 1 or letters
    first, second = name[:end], name[end:]
    return first, second if len(second) <= letters else second[: letters - 1] + "…"
