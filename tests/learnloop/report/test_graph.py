"""The drawing of the graph: layers, lines, and nothing that others imply."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest

from learnloop.report.graph import draw_graph
from learnloop.report.view import StepView


def drawn(edges: list[tuple[str, str]], **statuses: str) -> ElementTree.Element:
    steps = [
        StepView(name, "package.module:name", status, starts=0.0, seconds=1.25)
        for name, status in statuses.items()
    ]
    return ElementTree.fromstring(str(draw_graph(steps, edges)))


def boxes(svg: ElementTree.Element) -> dict[str, tuple[float, float]]:
    found = {}
    for box in svg.iter("a"):
        x, y = re.findall(r"[\d.]+", box.attrib["transform"])
        found[box.attrib["href"].removeprefix("#step-")] = (float(x), float(y))
    return found


def lines(svg: ElementTree.Element) -> list[str]:
    return [path.attrib["d"] for path in svg.iter("path") if path.get("class") == "edge"]


def test_a_step_stands_right_of_what_it_waits_for() -> None:
    svg = drawn(
        [("a", "b"), ("b", "c"), ("a", "d"), ("d", "c")], a="done", b="done", d="done", c="done"
    )
    at = boxes(svg)
    assert at["a"][0] < at["b"][0] == at["d"][0] < at["c"][0]
    assert at["b"][1] != at["d"][1]
    assert at["a"][1] == at["c"][1] == (at["b"][1] + at["d"][1]) / 2
    assert len(lines(svg)) == 4


def test_a_line_that_others_imply_is_not_drawn() -> None:
    svg = drawn([("a", "b"), ("b", "c"), ("a", "c")], a="done", b="done", c="done")
    assert len(lines(svg)) == 2


def test_a_long_line_passes_beside_the_steps_between() -> None:
    svg = drawn([("a", "b"), ("b", "c"), ("x", "c")], a="done", x="done", b="done", c="done")
    at = boxes(svg)
    assert at["x"][0] == at["a"][0]
    (long,) = [line for line in lines(svg) if " H" in line]
    level = float(re.search(r"([\d.]+) H", long)[1])
    assert abs(level - at["b"][1]) > 40


def test_each_step_tells_its_status_and_time() -> None:
    svg = drawn([], a="done", b="cached", c="failed", d="skipped", e="refused")
    told = [text.text for text in svg.iter("text") if text.get("class") == "told"]
    assert told == ["1.2 s", "reused", "failed", "skipped", "refused"]
    assert svg.find("title").text == (
        "Graph of steps. a: done; b: cached; c: failed; d: skipped; e: refused"
    )


def test_twenty_steps_in_a_row_keep_readable_boxes() -> None:
    names = [f"step_{number}" for number in range(20)]
    svg = drawn(list(itertools.pairwise(names)), **dict.fromkeys(names, "done"))
    assert float(svg.attrib["width"]) > 2_000
    assert {rect.attrib["width"] for rect in svg.iter("rect")} == {"92.0"}


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("ingest", "ingest", None),
        ("enrolment_examples_of_the_autumn", "enrolment_examples_", "of_the_autumn"),
        ("a_name_that_is_far_too_long_for_any_box", "a_name_that_is_far_", "too_long_for_any_box"),
        ("x" * 50, "x" * 20, "x" * 19 + "…"),
    ],
)
def test_a_long_name_takes_two_lines_and_is_told_whole(name, first, second) -> None:
    svg = drawn([], **{name: "done"})
    text = next(text for text in svg.iter("text") if text.get("class") == "name")
    assert (text.text, text.find("tspan").text) == (first, second)
    assert f"{name}: done, 1.2 s" in {title.text for title in svg.iter("title")}


def test_names_are_escaped() -> None:
    step = StepView("<b>", "package.module:name", "done")
    assert "<b>" not in draw_graph([step], []) and "&lt;b&gt;" in draw_graph([step], [])
