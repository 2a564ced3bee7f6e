"""The page of a run: self-contained, well formed, and saying what happened."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from learnloop.report import RunView, render_report
from learnloop.report.charts import Chart, Line, draw_chart, draw_interval, ticks
from learnloop.report.figures import learning_charts
from learnloop.report.view import Named, Verdict, verdict_of
from tests.learnloop.report.sample import sample_view

VOID = {"meta", "link", "br", "hr", "img", "input"}


@pytest.fixture(scope="module")
def view() -> RunView:
    return sample_view()


def ended(view: RunView, status: str, **steps: dict) -> RunView:
    """The same run with another end: its status, and steps by name with other values."""
    changed = tuple(replace(step, **steps.get(step.name, {})) for step in view.steps)
    return replace(view, run=replace(view.run, status=status), steps=changed, blessings=())


class Outline(HTMLParser):
    """Checks that elements are closed in order; keeps ids, references and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        named = dict(attributes)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[name] or "" for name in ("href", "src") if name in named]

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """An element that holds nothing."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def says(self, sentence: str) -> bool:
        return sentence in re.sub(r"\s+", " ", " ".join(self.text))


def test_the_page_is_well_formed_and_refers_to_nothing_outside(view: RunView) -> None:
    page = render_report(view)
    outline = Outline(page)
    assert all(link.startswith("#") and link[1:] in outline.ids for link in outline.links)
    assert len(outline.ids) == len(set(outline.ids))
    assert not re.search(r"https?://|@import|url\(", page)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert len(page) < 200_000


def test_the_page_shows_every_part(view: RunView) -> None:
    outline = Outline(render_report(view))
    metrics = view.evaluations[0].document["metrics"]["test"]
    for sentence in (
        "learner outcome",
        "learner_outcome-20261123-062409-8f1c",
        "Blessed",
        "It is version 3 of learner_outcome in the registry.",
        f"{metrics['auc']:.4f}",
        "8,728",
        "10,655,280",
        "the score is not a number",
        "The values are spread otherwise than in train.",
        "best: epoch 18",
        "this model, AUC",
        "bins of equal weight",
        "Against the champion",
        "code module",
        "Greatest gap",
        "/srv/models/outcome/3",
        "tensorflow 2.16.2",
        "test without repeated",
    ):
        assert outline.says(sentence), sentence


def test_a_blessed_run_warns_all_the_same(view: RunView) -> None:
    verdict = verdict_of(view)
    assert (verdict.headline, verdict.tone) == ("Blessed", "good")
    assert verdict.warnings[0].startswith("The ROC curves of gender F and M lie")
    assert Outline(render_report(view)).says("To look at")


def test_a_refused_run_gives_its_reasons(view: RunView) -> None:
    reasons = ("The AUC on test is 0.612; at least 0.700 is required.", "Also badly calibrated.")
    refused = ended(
        view,
        "refused",
        evaluate={"status": "refused", "reasons": reasons, "log_tail": ("a line of the log",)},
        register={"status": "skipped", "starts": None},
    )
    assert verdict_of(refused) == Verdict("Refused by evaluate", "bad", reasons)
    outline = Outline(render_report(refused))
    assert outline.says(reasons[0])
    assert outline.says("a line of the log")


def test_a_failed_run_shows_the_end_of_the_log(view: RunView) -> None:
    reason = "The loss stopped being a number.\n  where:    epoch 4"
    tail = ("epoch 3 of 40", "<Traceback>")
    failed = ended(
        view, "failed", train={"status": "failed", "reasons": (reason,), "log_tail": tail}
    )
    assert verdict_of(failed).sentences == ("The loss stopped being a number.",)
    page = render_report(failed)
    assert "<details open>" in page
    assert "epoch 3 of 40\n&lt;Traceback&gt;" in page


def test_an_overridden_refusal_is_not_called_blessed(view: RunView) -> None:
    override = {"by": "ada", "reason": "known"}
    let_pass = {"reasons": ("A column is new.",), "override": override}
    blessing = Named("evaluate", {"blessed": True, "reasons": [], "warnings": []})
    passed = replace(ended(view, "done", validate=let_pass), blessings=(blessing,))
    verdict = verdict_of(passed)
    assert (verdict.headline, verdict.tone) == ("Done", "warn")
    assert verdict.warnings == ("validate refused and was let pass by ada: known",)
    assert Outline(render_report(passed)).says("validate was let pass")


@pytest.mark.parametrize(
    ("status", "headline"),
    [("running", "Running"), ("cancelled", "Cancelled"), ("failed", "Failed")],
)
def test_a_run_without_an_end_has_a_page(view: RunView, status: str, headline: str) -> None:
    waiting = replace(
        ended(view, status),
        run=replace(view.run, status=status, ended=None),
        examples=(),
        records=(),
        validations=(),
        trainings=(),
        evaluations=(),
        registered=(),
        published=(),
    )
    outline = Outline(render_report(waiting))
    assert outline.says(headline)
    assert outline.says("still running")


def test_of_very_many_slices_the_weakest_are_shown(view: RunView) -> None:
    document = view.evaluations[0].document
    part = document["slices"][0]
    many = [
        {**part, "column": "skill", "value": f"skill {number:03}", "auc": 0.6 + number / 1_000}
        for number in reversed(range(100))
    ]
    crowded = Named("evaluate", {**document, "slices": many})
    outline = Outline(render_report(replace(view, evaluations=(crowded,))))
    assert outline.says("the 12 weakest of 100")
    assert outline.says("skill 000")
    assert not outline.says("skill 012")


def test_figures_of_an_authors_own_evaluation_are_listed(view: RunView) -> None:
    own = Named("judge", {"metrics": {"test": {"accuracy": 0.81234, "of": "an author"}}})
    outline = Outline(render_report(replace(view, evaluations=(own,))))
    assert outline.says("accuracy")
    assert outline.says("0.8123")
    assert not outline.says("an author")


def test_what_authors_wrote_is_escaped(view: RunView) -> None:
    attack = "<script>alert(1)</script>"
    hurt = replace(
        view,
        run=replace(view.run, parameters={attack: attack}, cause=attack, user=attack),
        quarantine={attack: {attack: 3}},
        notes=(attack,),
    )
    assert attack not in render_report(hurt)


def test_charts_hold_their_points_inside_the_axes() -> None:
    line = Line("loss", x=[1, 2, 3], y=[0.9, 0.5, 0.4], told=["a", "b", "c"])
    drawn = str(draw_chart(Chart("Loss", "epoch", "loss", [line], mark=2, mark_label="best")))
    (path,) = re.findall(r'class="line first" d="M([\d. ]+)"', drawn)
    numbers = [float(number) for number in path.split()]
    assert numbers[0::2] == [52.0, 279.0, 506.0]
    assert all(14.0 < height < 294.0 for height in numbers[1::2])
    assert "&#34;b&#34;" in drawn


def test_one_epoch_is_a_chart_too() -> None:
    (chart, _) = learning_charts({"curves": {"loss": [0.5], "validation_auc": [0.7]}})
    assert re.findall(r'class="tick middle"[^>]*>([^<]+)<', chart) == ["1", "2"]


def test_a_strip_keeps_values_beyond_its_ends_inside() -> None:
    drawn = str(draw_interval(0.2, (0.1, 0.9), (0.5, 0.8), reference=0.65))
    assert 'cx="4.0"' in drawn
    assert "M4.0 9.0H186.0" in drawn


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((0.0, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ((1.0, 23.0), [5.0, 10.0, 15.0, 20.0]),
        ((0.5412, 0.6633), [0.55, 0.575, 0.6, 0.625, 0.65]),
    ],
)
def test_ticks_are_round(limits: tuple[float, float], expected: list[float]) -> None:
    assert ticks(limits) == expected


@pytest.mark.slow
def test_a_browser_without_a_network_runs_the_page(view: RunView, tmp_path: Path) -> None:
    """Chromium parses the page, its script runs under the page's own policy, nothing is fetched."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium: apt-get install chromium")
    page = tmp_path / "run.html"
    page.write_text(render_report(view), encoding="utf-8")
    options = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
    command = [browser, *options.split(), "--enable-logging=stderr", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    charts = len(re.findall("data-points=", done.stdout))
    assert charts == 4
    assert len(re.findall('class="dot plain"[^>]*></circle>', done.stdout)) == charts
    assert "CONSOLE" not in done.stderr
