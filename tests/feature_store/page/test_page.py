"""The page of a view: self-contained, well formed, and saying what is so."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from feature_store.asking import PurposeRefused
from feature_store.definitions import FeatureService
from feature_store.fields import Sensitivity
from feature_store.gathering import gather
from feature_store.page import collect_page, render_page, write_page
from feature_store.page.profile import Bar
from feature_store.page.render import draw_bars
from feature_store.store import FeatureStore, NotApplied
from learnloop.errors import UsageError
from learnloop.settings import Settings
from tests.feature_store.online.school import NOW, ago, attempt, open_school, write_activity
from tests.feature_store.online.school_views import activity, attempts, pace

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Checks that elements are closed in order; keeps references and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def school(settings: Settings) -> FeatureStore:
    """Twenty learners, of whom one was last active long ago; online since an hour."""
    write_activity(
        "days",
        [
            {
                "learner": 4_711_000 + n,
                "happened_at": ago(days=1 if n else 60),
                "clicks": n,
                "favourite": "sums",
            }
            for n in range(20)
        ],
    )
    store = open_school(settings)
    store.materialize_incremental(NOW, ["activity"])
    return store


def test_what_the_page_says(school: FeatureStore) -> None:
    page = render_page(collect_page(school, "activity", NOW + timedelta(minutes=30)))
    text = Outline(page).text
    for said in (
        "Activity version 1 in force".lower(),
        "a value holds for 30 days",
        "keys 20 rows in the source 20",
        "keys whose values hold no more 5.0 %",
        "median delay until it was recorded 0 seconds",
        "up to 30 minutes ago",
        "favourite string 0.0 % sums 20",
        "score float32 100.0 % fewer than 10 keys have a value",
        "activity_files data/activity 1 file, 20 rows; happened: happened_at",
        "pace computed on demand tutor service",
        "version 1 first applied",
    ):
        assert said in text.lower(), said


def test_it_needs_nothing_from_outside_and_names_no_learner(school: FeatureStore) -> None:
    page = render_page(collect_page(school, "activity", NOW))
    assert not re.findall(r"(?:src|href)=[\"'](?!#)|url\(|@import|<script", page)
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "4711" not in page.replace(",", "")


def test_a_name_that_is_html_is_text(settings: Settings, school: FeatureStore) -> None:
    named = replace(activity, description="<b>Clicks</b> & more", owner="</style>")
    store = open_school(settings, named, attempts)
    page = render_page(collect_page(store, "activity", NOW))
    assert "&lt;b&gt;Clicks&lt;/b&gt; &amp; more" in page
    assert page.count("</style>") == 1
    assert "description: none -&gt; &lt;b&gt;Clicks" in page


def test_nothing_online_nothing_pushed_and_nobody_who_reads(settings: Settings) -> None:
    store = open_school(settings, attempts)
    store.materialize_incremental(NOW, ["attempts"])
    store.online_stores[0].drop("attempts")
    text = Outline(render_page(collect_page(store, "attempts", NOW))).text
    assert "The source has no rows that count." in text
    assert "It holds nothing: learnloop features materialize --view attempts" in text
    assert "attempt_stream pushed rows attempts_kept data/attempts 0 files, 0 rows" in text
    assert "nobody yet" in text
    store.materialize_incremental(NOW, ["attempts"])
    store.push("attempt_stream", [attempt(1, 7, "sums", 1, ago(days=1))])
    text = Outline(render_page(collect_page(store, "attempts", NOW))).text
    assert "The source does not tell when rows were recorded." in text


def test_each_change_is_told(settings: Settings, school: FeatureStore) -> None:
    changed = replace(activity, ttl=None)
    open_school(settings, attempts)
    open_school(settings, activity)
    store = open_school(settings, changed)
    assert collect_page(store, "activity", NOW).versions == [
        (3, ["ttl: 30 days, 0:00:00 -> for ever"]),
        (2, ["applied again after it was removed"]),
        (1, ["first applied"]),
    ]


def test_sensitive_features_need_a_purpose(settings: Settings, school: FeatureStore) -> None:
    first = replace(activity.schema[0], sensitivity=Sensitivity.BEHAVIOURAL)
    guarded = replace(activity, schema=(first, *activity.schema[1:]), purposes=("support",))
    store = open_school(settings, guarded)
    with pytest.raises(PurposeRefused):
        collect_page(store, "activity", NOW)
    assert collect_page(store, "activity", NOW, "support").profile.keys == 20


def test_what_has_no_page(settings: Settings, school: FeatureStore) -> None:
    with pytest.raises(UsageError) as refused:
        collect_page(school, "pace", NOW)
    assert str(refused.value) == (
        "'pace' is computed on demand and has no rows.\n"
        "  where:    feature views\n"
        "  expected: one of activity, attempts\n"
        "  received: 'pace'"
    )
    with pytest.raises(NotApplied):
        collect_page(
            FeatureStore(settings, gather([replace(activity, owner="x")])), "activity", NOW
        )


def test_a_page_is_replaced_as_a_whole(school: FeatureStore, tmp_path: Path) -> None:
    file = tmp_path / "pages" / "activity.html"
    write_page(school, "activity", file)
    first = file.read_text()
    write_page(school, "activity", file)
    assert [path.name for path in file.parent.iterdir()] == ["activity.html"]
    assert first.startswith("<!doctype html>")


def test_bars_say_what_they_stand_for() -> None:
    drawn = draw_bars([Bar("0 & 1", 10), Bar("2", 0)], 100, 20, "keys by <value>")
    assert "<title>0 &amp; 1: 10</title>" in drawn
    assert 'aria-label="keys by &lt;value&gt;"' in drawn
    heights = re.findall(r'y="[\d.]+" width="[\d.]+" height="([\d.]+)"', drawn)
    assert heights == ["18.0", "0.0"]
    assert "<g>" not in draw_bars([], 100, 20, "nothing")


def test_services_that_read_a_view_through_another(settings: Settings) -> None:
    write_activity("days", [{"learner": 1, "happened_at": ago(days=1)}])
    through = FeatureService("fast", (pace,))
    other = FeatureService("other", (attempts,))
    found = collect_page(open_school(settings, through, other), "activity", NOW)
    assert [one.name for one in found.services] == ["fast"]
