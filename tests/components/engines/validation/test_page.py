from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from components.engines.validation.checks import Check
from components.engines.validation.page import render


class Words(HTMLParser):
    """Collects the text and counts the tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for name, v in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Words:
    words = Words()
    words.feed(html)
    assert words.open == []
    return words


DRIFTED = Check(
    "drift",
    "train",
    "score",
    False,
    "The column has drifted away from earlier data.",
    expected="at most 0.1",
    received="0.3125",
    next="find out why",
    figures={
        "measure": "L-infinity",
        "formula": "max |p(v) - q(v)|",
        "distance": 0.3125,
        "threshold": 0.1,
        "against": "before",
    },
)


def test_the_page_shows_verdict_figures_and_distributions(describe: Any) -> None:
    statistics = {
        "train": describe(
            score=[1.0, 2.0, 3.5, None], region=["Wales", "Wales", "Ireland", "Wales"]
        ),
        "test": describe(score=[7.25], region=["Scotland"]),
    }
    html = render([DRIFTED, Check("tfdv", "train", "region", True, "Fine.")], statistics)
    text = " ".join(read(html).words)
    for shown in (
        "Refused",
        "1 of 2 checks failed in 1 column.",
        "rows in train",
        "train.score",
        "find out why",
        "max |p(v) - q(v)|",
        "0.3125",
        "0.1000",
        "before",
        "Wales",
        "Scotland",
        "75 %",
        "25 %",
        "2.17",
        "7.25",
    ):
        assert shown in text, shown
    assert html.count("<svg") == 2
    assert html.count("<polygon") == 2


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(describe: Any) -> None:
    evil = "<script>alert(1)</script>"
    check = Check("tfdv", "train", evil, False, evil, evil, evil, evil)
    html = render([check], {"train": describe(**{evil: [evil, "b"]})})
    assert "<script" not in html
    assert read(html).links == []
    assert not re.search(r"url\(|@import|https?://", html)


def test_data_that_passes_says_so_and_equal_content_gives_an_equal_page(describe: Any) -> None:
    statistics = {"train": describe(score=[None, None], empty=[[], None])}
    check = Check("tfdv", "train", "score", True, "Fine.")
    html = render([check], statistics)
    assert "All 1 check passed." in html
    assert "No distribution to show." in html
    assert html == render([check], statistics)
