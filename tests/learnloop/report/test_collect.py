"""From real runs in a ledger and a store to their pages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from learnloop.errors import UsageError
from learnloop.report import write_report
from learnloop.report.collect import collect_run
from learnloop.runner import Run, run_pipeline
from learnloop.settings import Settings
from tests.learnloop import steps
from tests.learnloop.report.pipelines import LEARNERS, mastery


def run(settings: Settings, **parameters: object) -> Run:
    return run_pipeline(mastery, parameters, settings=settings)


def test_a_run_is_gathered_whole(settings: Settings) -> None:
    ended = run(settings)
    view = collect_run(ended.id, settings)
    assert view.run.status == "done"
    assert [(step.name, step.status) for step in view.steps] == [
        (name, "done") for name in ("read", "split", "check", "fit", "measure", "publish")
    ]
    assert [(table.step, dict(table.counts)) for table in view.records] == [
        ("read", {"attempts": 6})
    ]
    assert [dict(table.counts) for table in view.examples] == [{"train": 4, "test": 2}]
    assert view.quarantine == {"attempts": {"no answer": 1}}
    assert [named.document["best_epoch"] for named in view.trainings] == [2]
    assert view.evaluations[0].document == {"metrics": {"test": {"auc": 0.8}}}
    assert [named.document["version"] for named in view.registered] == ["4"]
    assert view.versions["python"] == "3.11"
    fit = view.steps[3]
    assert [(one.name, one.type) for one in fit.inputs] == [("examples", "Examples")]
    assert [(one.name, one.type) for one in fit.outputs] == [("model", "Model")]
    assert len(fit.key) == len(fit.outputs[0].digest) == 64
    assert fit.starts is not None
    assert fit.starts + fit.seconds <= view.run.seconds
    assert view.notes == ()


def test_a_second_run_is_shown_as_reused(settings: Settings) -> None:
    run(settings)
    view = collect_run(run(settings).id, settings)
    assert {step.status for step in view.steps} == {"cached"}
    assert view.evaluations and view.trainings and view.published


@pytest.mark.parametrize("parameters", [{}, {"auc": 0.6}, {"breaks": True}])
def test_no_page_names_a_learner(settings: Settings, parameters: dict) -> None:
    page = write_report(run(settings, **parameters).id, settings).read_text()
    assert not any(learner in page for learner in LEARNERS)


def test_a_refused_run_keeps_its_figures(settings: Settings) -> None:
    ended = run(settings, auc=0.6)
    view = collect_run(ended.id, settings)
    assert view.run.status == "refused"
    assert view.steps[4].reasons == ("The AUC is 0.6.",)
    assert view.evaluations[0].document["metrics"]["test"]["auc"] == 0.6
    assert [(view.steps[5].status, view.steps[5].starts)] == [("skipped", None)]
    assert "Refused by measure" in ended.report.read_text()


def test_a_failed_step_brings_the_end_of_its_log(settings: Settings) -> None:
    view = collect_run(run(settings, breaks=True).id, settings)
    fit = view.steps[3]
    assert fit.status == "failed"
    assert fit.reasons[0].startswith("The loss stopped being a number.")
    assert any("epoch 3 of 40" in line for line in fit.log_tail)
    assert view.steps[0].log_tail == ()


def test_what_is_gone_from_the_store_is_noted(settings: Settings) -> None:
    ended = run(settings)
    shutil.rmtree(Path(settings.store_location) / "artifacts" / "mastery" / "measure")
    view = collect_run(ended.id, settings)
    assert view.evaluations == ()
    assert len(view.notes) == 2
    assert view.notes[0].startswith("evaluation of measure cannot be read: ")
    assert view.notes[0] in write_report(ended.id, settings).read_text().replace("&#39;", "'")


def test_documents_of_an_authors_own_shape_are_left_out(settings: Settings) -> None:
    ended = run_pipeline(steps.sums, {}, settings=settings)
    view = collect_run(ended.id, settings)
    assert view.evaluations == ()
    assert "Done" in write_report(ended.id, settings).read_text()


def test_the_page_lies_in_the_home_folder_and_is_written_again(settings: Settings) -> None:
    ended = run(settings)
    page = write_report("latest", settings)
    assert page == settings.home_folder / "reports" / f"{ended.id}.html"
    first = page.read_text()
    assert write_report(ended.id, settings).read_text() == first
    assert [path.name for path in page.parent.iterdir()] == [page.name]


def test_an_unknown_run_is_refused(settings: Settings) -> None:
    run(settings)
    with pytest.raises(UsageError, match=r"There is no run 'yesterday'\."):
        write_report("yesterday", settings)
