"""Erasing whoever is killed, whatever is at work meanwhile, wherever the artifacts are."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from feature_store.people import IDENTIFIER
from feature_store.pseudonyms import load_keyring
from learnloop.artifacts import Examples
from learnloop.errors import LearnLoopError, UsageError
from learnloop.ledger import ArtifactRecord, open_ledger
from learnloop.runner import Run
from learnloop.settings import Settings
from learnloop.store import open_store
from messaging.broker import QUEUE, opened_channel
from messaging.messages import parse_request
from privacy.erasing import erase_learner
from privacy.holds import hold_person
from privacy.person import open_person
from tests.feature_store.online.test_stores import forked
from tests.privacy.quick import OTHER, THEM, run, write_source
from tests.privacy.scanning import places_naming

REASON = "request 31 of 2026"
STAGES = (
    "list_as_erased",
    "erase_features",
    "erase_events",
    "erase_predictions",
    "mark_erased",
    "_purge",
    "remove_leftovers",
    "mark_versions",
    "ask_for_retraining",
    "write_receipt",
)
"""The functions of an erasure, in the order in which they are called."""


@pytest.fixture(autouse=True)
def keys(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNLOOP_PSEUDONYM_KEYS", "2026:" + "k" * 32)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "platform")


def project(settings: Settings) -> Path:
    return settings.home_folder.parent


REFUSED: list[tuple[str, str, str]] = [
    (
        " ",
        REASON,
        "This names nobody.\n  where:    LEARNER\n  expected: a learner's identifier",
    ),
    (
        THEM,
        f"{THEM} asked",
        "What is kept needs a reason that does not name the person.\n"
        "  where:    --reason\n"
        "  expected: the number of a request, for example\n"
        "  received: a reason that names the person",
    ),
    (
        THEM,
        " ",
        "What is kept needs a reason that does not name the person.\n"
        "  where:    --reason\n"
        "  expected: the number of a request, for example\n"
        "  received: nothing",
    ),
]


@pytest.mark.parametrize(("learner", "reason", "message"), REFUSED)
def test_what_is_refused(settings: Settings, learner: str, reason: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        erase_learner(settings, learner, reason)
    assert str(refused.value) == message


def test_without_keys_nobody_could_be_kept_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LEARNLOOP_PSEUDONYM_KEYS")
    with pytest.raises(UsageError) as refused:
        erase_learner(settings, THEM, REASON)
    assert refused.value.what == "There is no key to make pseudonyms with."
    assert refused.value.next.startswith("export LEARNLOOP_PSEUDONYM_KEYS=")


def test_who_is_held_is_not_erased(settings: Settings, source: Path) -> None:
    run(settings, source)
    before = places_naming(project(settings), THEM)
    hold_person(open_ledger(settings.ledger_url), open_person(THEM), "case 17")
    with pytest.raises(UsageError) as refused:
        erase_learner(settings, THEM, REASON)
    assert refused.value.what == "This learner is under legal hold, and nothing was erased."
    assert refused.value.received == "case 17"
    assert places_naming(project(settings), THEM) == before != []


def test_killed_at_any_stage_it_is_done_again(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = mean_of(run(settings, source))
    for stage in STAGES:
        with forked(lambda stage=stage: erase_and_die(settings, stage)) as process:
            _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, stage
    receipts = settings.home_folder / "erasures"
    assert list(receipts.glob("*.json")) == []
    receipt = erase_learner(settings, THEM, REASON)
    assert [file.name for file in receipts.iterdir()] == [receipt.file.name]
    assert places_naming(project(settings), THEM) == []
    assert [one.command for one in receipt.retraining] == [
        f"learnloop run quick --set source={source} --set tell=false --set column=learner"
    ]
    again = mean_of(run(settings, source))
    assert again != first
    assert again == mean_of(run(settings, write_source(project(settings) / "other", without=THEM)))
    assert places_naming(project(settings), OTHER) != []


def erase_and_die(settings: Settings, stage: str) -> bool:
    """Erase in a process of its own, which is killed when a stage begins."""
    import privacy.artifacts

    open_ledger.cache_clear()
    open_store.cache_clear()
    found = [module for module in (privacy.erasing, privacy.artifacts) if hasattr(module, stage)]
    for module in found:
        setattr(module, stage, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    assert found, stage
    return bool(erase_learner(settings, THEM, REASON))


def mean_of(ended: Run) -> str:
    text: str = (ended.artifacts["model"].path / "mean.txt").read_text()
    return text


def test_statistics_that_tell_of_learners_go_too(settings: Settings, source: Path) -> None:
    run(settings, source, tell=True)
    receipt = erase_learner(settings, THEM, REASON)
    assert {one.place.split(",")[0]: one.rows for one in receipt.places if one.rows} == {
        "artifacts of quick/ingest": 2,
        "artifacts of quick/split": 2,
    }
    assert "artifacts of quick/learn, 1 execution" in {one.place for one in receipt.places}
    assert places_naming(project(settings), THEM) == []


class TestStepsAtWork:
    """A step that is being executed has read the person's rows, and publishes them later."""

    def test_they_are_waited_for_and_what_they_made_goes(
        self, settings: Settings, source: Path
    ) -> None:
        finish = begin_a_step(settings, source)

        def when_the_rest_is_gone() -> None:
            artifacts = Path(settings.store_location) / "artifacts" / "quick"
            while list(artifacts.glob("ingest/*/manifest.json")):
                time.sleep(0.01)
            finish()

        thread = threading.Thread(target=when_the_rest_is_gone)
        thread.start()
        receipt = erase_learner(settings, THEM, REASON, wait_seconds=60)
        thread.join()
        assert "artifacts of by_hand/derive, 1 execution" in {one.place for one in receipt.places}
        assert places_naming(project(settings), THEM) == []

    def test_one_that_goes_on_too_long_is_told(self, settings: Settings, source: Path) -> None:
        finish = begin_a_step(settings, source)
        with pytest.raises(LearnLoopError) as told:
            erase_learner(settings, THEM, REASON, wait_seconds=0)
        assert str(told.value) == (
            "Steps go on that may have read the person's rows; all else is erased.\n"
            "  where:    by-hand derive\n"
            "  next:     learnloop cancel RUN, or wait for their end; then erase again"
        )
        assert list((settings.home_folder / "erasures").iterdir()) == []
        finish()
        assert places_naming(project(settings), THEM) != []
        erase_learner(settings, THEM, REASON)
        assert places_naming(project(settings), THEM) == []


def begin_a_step(settings: Settings, source: Path) -> Callable[[], None]:
    """Begin a step by hand that derives rows without a learner's column; ended by what is given."""
    import pyarrow as pa

    records = run(settings, source).results["ingest"].outputs["records"]
    assert records is not None
    ledger, store = open_ledger(settings.ledger_url), open_store(settings.store_location, "")
    ledger.start_run(
        "by-hand", "by_hand", {}, [("derive", "x:derive")], [],
        runner="local", user="ada", git_commit="", cause="",
    )  # fmt: skip
    execution = ledger.begin("by-hand", "derive", "k" * 64, {})
    location = f"by_hand/derive/{execution}"
    staged = store.stage(location)
    derived = Examples.create(staged / "examples")
    derived.write("train", pa.table({"note": [f"of {THEM}"]}))

    def finish() -> None:
        manifest = store.publish(location, staged)
        made = ArtifactRecord(
            "derived", "examples", Examples.reference(), store.uri(location, "examples"), "d", {}
        )
        ledger.finish(
            execution, "done", inputs={"records": [records.id]}, outputs=[made],
            location=location, manifest_digest=manifest.digest(),
        )  # fmt: skip
        ledger.end_run("by-hand", "done")

    return finish


def test_what_a_killed_step_had_published_goes(settings: Settings, source: Path) -> None:
    """Its files are in the store, and the ledger knows of no location."""
    begin_a_step(settings, source)
    store = open_store(settings.store_location, "")
    (staged,) = (Path(settings.store_location) / "staging").iterdir()
    store.publish(f"by_hand/derive/{staged.name}", staged)
    open_ledger(settings.ledger_url).abandon_run("by-hand")
    erase_learner(settings, THEM, REASON)
    assert places_naming(project(settings), THEM) == []


def test_a_store_of_another_ledger_is_left_alone(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings, source)
    before = places_naming(project(settings), THEM)
    monkeypatch.setenv("LEARNLOOP_LEDGER", f"sqlite:///{project(settings) / 'other.db'}")
    with pytest.raises(UsageError, match="knows nothing of what the store holds"):
        erase_learner(Settings(), THEM, REASON)
    assert places_naming(project(settings), THEM) == before


def test_another_store_of_the_same_ledger_is_told(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings, source)
    monkeypatch.setenv("LEARNLOOP_STORE", "elsewhere")
    other = Settings()
    run(other, source)
    receipt = erase_learner(other, THEM, REASON)
    assert receipt.left == (
        f"artifacts in {settings.store_location}: another store: set LEARNLOOP_STORE, and erase"
        " again",
    )
    assert places_naming(Path(other.store_location), THEM) == []
    assert places_naming(Path(settings.store_location), THEM) != []
    monkeypatch.delenv("LEARNLOOP_STORE")
    erase_learner(settings, THEM, REASON)
    assert places_naming(project(settings), THEM) == []


def test_a_project_that_was_moved(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger knows artifacts by where they were; their files came along."""
    run(settings, source)
    moved = project(settings).with_name("moved")
    project(settings).rename(moved)
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(moved))
    assert erase_learner(Settings(), THEM, REASON).left == ()
    assert places_naming(moved, THEM) == []


def test_a_column_that_the_project_names(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_source(tmp_path / "pupils", column="pupil")
    monkeypatch.setenv("LEARNLOOP_LEARNER_COLUMNS", '["pupil"]')
    named = Settings()
    run(named, source)
    assert {one.rows for one in erase_learner(named, THEM, REASON).places} >= {2}
    assert places_naming(project(settings), THEM) == []
    run(named, source)
    assert places_naming(project(settings), THEM) == [], "they do not come back"


def test_artifacts_on_s3(
    settings: Settings, source: Path, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from learnloop.store.connection import client

    client().create_bucket(Bucket="privacy")
    versioning = {"Status": "Enabled"}
    client().put_bucket_versioning(Bucket="privacy", VersioningConfiguration=versioning)
    monkeypatch.setenv("LEARNLOOP_STORE", "s3://privacy/store")
    run(Settings(), source)
    assert places_naming(project(settings), THEM) != [], "copies of what is on S3"
    erase_learner(Settings(), THEM, REASON)
    assert places_naming(project(settings), THEM) == []
    versions = client().list_object_versions(Bucket="privacy")["Versions"]
    steps = {one["Key"].split("/")[3] for one in versions}
    assert steps == {"learn"}, "no version of rows is left"


@pytest.mark.xdist_group("rabbitmq")
def test_retraining_is_asked_for_once(
    settings: Settings, source: Path, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNLOOP_RABBITMQ", broker)
    run(settings, source)
    receipts = [erase_learner(settings, THEM, REASON) for _ in range(2)]
    with opened_channel(broker) as channel:
        answers = channel.consume(QUEUE, auto_ack=True)
        first, again = (
            parse_request(body) for _, (_, _, body) in zip(range(2), answers, strict=False)
        )
    assert (first.pipeline, first.reason) == ("quick", "erasure")
    assert first.parameters == {"source": str(source), "tell": False, "column": "learner"}
    assert first.message_id == again.message_id, "the listener takes it once"
    assert [one.retraining[0].message_id for one in receipts] == [first.message_id] * 2
    assert THEM not in json.dumps(first.to_json())


def test_a_text_that_names_them_is_told(settings: Settings, source: Path) -> None:
    """A pipeline's author may log what the framework never would."""
    ended = run(settings, source)
    log = settings.home_folder / "logs" / ended.id / "split.log"
    log.write_text(f"looked at {THEM}, and at x{THEM}\n")
    receipt = erase_learner(settings, THEM, REASON)
    assert receipt.left == (f"{log} has the same text, of the person or by chance: look",)
    pseudonym = load_keyring().pseudonym(IDENTIFIER, THEM)
    document = receipt.file.read_text()
    assert THEM not in document and pseudonym not in document
