"""What is traced from a person's rows, marked, and given up: on SQLite and on PostgreSQL."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from learnloop.artifacts import Blessing, Examples, Model, Records, RegisteredModel
from learnloop.ledger import ArtifactRecord, Ledger, open_ledger
from learnloop.ledger.erasing import (
    erased_since,
    executing,
    mark_erased,
    marked_by,
    published_artifacts,
    trace_downstream,
    unpublished,
)
from learnloop.ledger.journal import JournalEntry, append_to_journal
from learnloop.ledger.lineage import input_of_run


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    if request.param == "sqlite":
        return open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    new_database = request.getfixturevalue("new_postgres_database")
    return open_ledger(new_database())


def make(ledger: Ledger, run: str, step: str, kind: str, digest: str, *read: str) -> str:
    """Record a run of one step that made an artifact named after it, of others."""
    ledger.start_run(
        run, "sums", {}, [(step, "x:y")], [], runner="local", user="ada", git_commit="", cause=""
    )
    execution = ledger.begin(run, step, f"key of {run}", {})
    made = ArtifactRecord(run, "out", kind, f"/store/{run}", digest, {})
    ledger.finish(
        execution, "done", inputs={f"in {one}": [one] for one in read}, outputs=[made],
        location=f"sums/{step}/{execution}", manifest_digest="m",
    )  # fmt: skip
    ledger.end_run(run, "done")
    return execution


@pytest.fixture
def story(ledger: Ledger) -> dict[str, str]:
    """Rows, a model of them, one fetched that equals it, and one that beats it."""
    return {
        "rows": make(ledger, "rows", "ingest", Records.reference(), "r"),
        "model": make(ledger, "model", "train", Model.reference(), "m", "rows"),
        "fetched": make(ledger, "fetched", "load", Model.reference(), "m"),
        "continued": make(ledger, "continued", "train", Model.reference(), "c", "fetched"),
        "other rows": make(ledger, "other rows", "ingest", Examples.reference(), "o"),
        "other": make(ledger, "other", "train", Model.reference(), "n", "other rows"),
        "verdict": make(ledger, "verdict", "judge", Blessing.reference(), "b", "other", "model"),
        "version": make(
            ledger, "version", "register", RegisteredModel.reference(), "v", "other", "verdict"
        ),
    }


def test_what_was_learned_is_followed_and_a_comparison_is_not(
    ledger: Ledger, story: dict[str, str]
) -> None:
    assert trace_downstream(ledger, ["rows"]) == {
        "rows", "model", "fetched", "continued", "verdict"
    }  # fmt: skip
    assert trace_downstream(ledger, ["other rows"]) == {"other rows", "other", "verdict", "version"}
    assert trace_downstream(ledger, []) == set()


def test_what_is_given_up_is_reused_by_nobody_and_stays_on_record(
    ledger: Ledger, story: dict[str, str]
) -> None:
    erasure = JournalEntry("erased", "2026.pseudonym", "ada", {}, id=str(uuid.uuid4()))
    append_to_journal(ledger, erasure)
    assert ledger.reusable("key of rows") != []
    for _ in range(2):
        mark_erased(ledger, erasure, ["rows", "model"], [story["rows"]])
    assert ledger.reusable("key of rows") == []
    assert published_artifacts(ledger)[0].artifact.id == "model"
    assert unpublished(ledger) == {story["rows"]}
    assert [(one.artifact.id, one.run_id) for one in marked_by(ledger, erasure)] == [
        ("rows", "rows"),
        ("model", "model"),
    ]
    told = erased_since(ledger, ["rows", "model", "other"])
    assert {name: is_removed for name, (_, is_removed) in told.items()} == {
        "rows": True,
        "model": False,
    }
    assert told["rows"][0] == erasure.at
    assert input_of_run(ledger, "model", "in rows", Records.reference()) is None
    assert ledger.run("rows").status == "done"
    later = JournalEntry("erased", "2026.another", "bob", {}, id=str(uuid.uuid4()))
    mark_erased(ledger, later, ["model"], [])
    assert erased_since(ledger, ["model"])["model"][0] == later.at
    assert [one.artifact.id for one in marked_by(ledger, later)] == ["model"]


def test_steps_at_work_are_told(ledger: Ledger) -> None:
    make(ledger, "ended", "ingest", Records.reference(), "r")
    ledger.start_run(
        "on", "sums", {}, [("add", "x:y")], [], runner="local", user="", git_commit="", cause=""
    )
    assert executing(ledger) == {}
    execution = ledger.begin("on", "add", "k", {})
    assert executing(ledger) == {execution: "on add"}
    ledger.abandon_run("on")
    assert executing(ledger) == {}
    assert unpublished(ledger) == {execution}
