"""One learner of a whole school is erased: nothing finds them, and the model never saw them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.champion import open_registry
from learnloop.artifacts import Examples, Statistics
from learnloop.ledger import open_ledger
from learnloop.ledger.erasing import erased_since
from learnloop.ledger.lineage import input_of_run
from learnloop.runner import Run
from learnloop.settings import Settings
from privacy.erasing import erase_learner
from privacy.receipts import Receipt
from serving.publish import why_not_as_published
from serving.registry import ERASED_TAG
from tests.privacy.learning import NAME, school, school_model
from tests.privacy.scanning import places_naming
from tests.privacy.school import (
    CREDITS,
    FEATURE_VIEWS,
    LEARNER,
    live_there,
    make_platform,
    push_practice,
    remove_by_hand,
)

pytestmark = pytest.mark.xdist_group("privacy")


@dataclass
class Story:
    """What happened, in order.

    Args:
        settings: The project.
        source: The platform's tables.
        learner: Whom it is about: the first of the test split, who was trained on too.
        first: The run that learned from them.
        before: The files that named them then.
        receipt: Of their erasure.
        again: The run after it.
    """

    settings: Settings
    source: Path
    learner: str
    first: Run
    before: list[str]
    receipt: Receipt
    again: Run

    @property
    def project(self) -> Path:
        return self.settings.home_folder.parent


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Story:
    folder = tmp_path_factory.mktemp("erasure")
    project = folder / "project"
    (project / "privacy_school").mkdir(parents=True)
    (project / "privacy_school" / "__init__.py").touch()
    (project / "privacy_school" / "feature_views.py").write_text(FEATURE_VIEWS)
    (project / "learnloop.toml").write_text('features = ["privacy_school"]\n')
    patch.setenv("LEARNLOOP_PROJECT", str(project))
    patch.setenv("LEARNLOOP_PSEUDONYM_KEYS", f"2026:{'n' * 32},2025:{'o' * 32}")
    patch.setenv("LEARNLOOP_EVENT_KEY", "e" * 64)
    settings = Settings()
    source = make_platform(folder / "platform")
    first = school.run_in(settings, source=str(source))
    assert first.status == "done", first.error
    examples = first.artifacts["examples"]
    assert isinstance(examples, Examples)
    trained_on = set(examples.table("train")["learner"].to_pylist())
    learners = [str(one) for one in examples.table("test")["learner"].unique().to_pylist()]
    learner = str(LEARNER)
    assert learner == learners[0] and LEARNER in trained_on
    live_there(settings, learners[:5])
    # What a killed step leaves behind.
    (settings.home_folder / "scratch" / "killed").mkdir(parents=True)
    (settings.home_folder / "scratch" / "killed" / "source.csv").write_text(f"x,{learner}\n")
    before = places_naming(project, learner)
    receipt = erase_learner(settings, learner, "request 31")
    again = school.run_in(settings, source=str(source))
    assert again.status == "done", again.error
    return Story(settings, source, learner, first, before, receipt, again)


def test_nothing_finds_them(story: Story) -> None:
    tops = {"/".join(place.split("/")[:2]) for place in story.before}
    assert tops == {
        ".learnloop/scratch",
        ".learnloop/store",
        "events/_quarantine",
        "events/attempt",
        "features/practice",
    }, "they were there before; predictions and online rows bear pseudonyms"
    assert places_naming(story.project, story.learner) == []


def test_the_receipt_tells_place_by_place(story: Story) -> None:
    document = json.loads(story.receipt.file.read_text())
    assert document == story.receipt.to_json()
    rows = {one["place"]: one["rows"] for one in document["places"]}
    online = next(place for place in rows if place.startswith("feature view practice"))
    assert rows == {
        "source practice_stream": 1,
        online: 1,
        "key of the learner's events": 1,
        "events": 2,
        "predictions": 1,
        "artifacts of school/enrolled, 1 execution": 2,
        "artifacts of school/ingest, 1 execution": rows["artifacts of school/ingest, 1 execution"],
        "artifacts of school/transform, 1 execution": 0,
    }
    assert rows["artifacts of school/ingest, 1 execution"] > 3, "clicks, marks, registrations"
    assert document["models"] == [f"{NAME} 1"]
    assert document["retraining"] == [
        {
            "pipeline": "school",
            "message_id": "",
            "command": f"learnloop run school --set source={story.source}",
        }
    ]
    assert document["left"] == []
    assert document["reason"] == "request 31"


def test_the_model_is_marked_wherever_somebody_looks(story: Story) -> None:
    day = f"{story.receipt.at:%Y-%m-%d}"
    registry = open_registry(story.settings)
    assert registry.version_tag(NAME, "1", ERASED_TAG) == day
    assert registry.version_tag(NAME, "2", ERASED_TAG) is None
    assert command("serving", "status").splitlines()[2:] == [
        f"{NAME} 1 was trained with a person who was erased on {day}."
    ]
    shown = command("show", story.first.id)
    assert f"train.model: made with a person who was erased on {day}\n" in shown
    assert f"ingest.records: erased on {day}\n" in shown
    assert "erased" not in command("show", story.again.id)
    uri = story.first.results["train"].outputs["model"].uri
    lineage = command("lineage", uri)
    assert f"made with a person who was erased on {day})" in lineage.splitlines()[0]
    assert f", erased on {day})" in lineage.splitlines()[-1]
    assert story.first.id in command("runs")
    assert command("gc", "--dry-run").startswith("0 runs")


def test_the_model_that_is_trained_again_equals_one_that_never_saw_them(
    story: Story, tmp_path: Path, patch: pytest.MonkeyPatch
) -> None:
    assert {r.status for n, r in story.again.results.items() if n != "load_champion"} == {"done"}
    source = remove_by_hand(story.source, tmp_path / "by-hand", story.learner)
    (tmp_path / "learnloop.toml").touch()
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("LEARNLOOP_PROJECT", str(tmp_path))
        elsewhere.delenv("LEARNLOOP_PSEUDONYM_KEYS")
        never = school_model.run_in(Settings(), source=str(source))
        assert never.status == "done", never.error
    expected, received, was = map(digests_of, (never, story.again, story.first))
    assert {name: received[name] for name in expected} == expected
    assert was["model"] != received["model"] and was["records"] != received["records"]


def test_a_monitor_is_not_sent_to_rows_that_are_gone(story: Story) -> None:
    ledger = open_ledger(story.settings.ledger_url)
    for run, name, kind, is_there in (
        (story.first, "examples", Examples, False),
        (story.first, "statistics", Statistics, True),
        (story.again, "examples", Examples, True),
    ):
        assert (input_of_run(ledger, run.id, name, kind.reference()) is not None) == is_there


def test_no_row_of_theirs_stands_beside_the_published_model(story: Story) -> None:
    """Their own rows are known by a number of credits that nobody else has."""
    assert why_not_as_published(story.settings.serving_folder / NAME / "1") == ""
    theirs = struct.pack("<f", CREDITS)
    beside = [
        *story.settings.serving_folder.rglob("tf_serving_warmup_requests"),
        *(story.settings.home_folder / "mlflow").rglob("input_example.json"),
    ]
    assert len(beside) == 4
    for file in beside:
        content = file.read_bytes()
        assert theirs not in content and str(CREDITS).encode() not in content, file


def test_they_do_not_come_back_by_a_row_that_is_pushed(story: Story) -> None:
    assert push_practice(story.settings, [story.learner]) == 0
    assert places_naming(story.project, story.learner) == []


def test_erasing_again_finds_nothing_and_says_the_same_of_models(story: Story) -> None:
    again = erase_learner(story.settings, story.learner, "request 31, once more")
    assert sum(one.rows for one in again.places) == 0
    assert (again.erasure, again.models) == (story.receipt.erasure, story.receipt.models)
    ledger = open_ledger(story.settings.ledger_url)
    records = [
        record for result in story.again.results.values() for record in result.outputs.values()
    ]
    assert erased_since(ledger, [record.id for record in records if record]) == {}


def digests_of(run: Run) -> dict[str, str]:
    outputs = [record for result in run.results.values() for record in result.outputs.values()]
    return {record.output: record.content_digest for record in outputs if record}


def command(*words: str) -> str:
    from learnloop.cli.main import application

    done = CliRunner().invoke(application, list(words))
    assert done.exit_code == 0, done.output
    return done.output
