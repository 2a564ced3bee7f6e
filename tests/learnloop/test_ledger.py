"""The ledger on SQLite and PostgreSQL: one suite for both."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError
from learnloop.ledger import SCHEMA_REVISION, ArtifactRecord, Ledger, RunRecord, open_ledger
from learnloop.ledger.migrate import MIGRATIONS
from learnloop.ledger.tables import metadata

STEPS = [("one", "m:one"), ("two", "m:two")]
EDGES = [("one", "two")]


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    if request.param == "sqlite":
        return open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    new_database = request.getfixturevalue("new_postgres_database")
    return open_ledger(new_database())


def start(ledger: Ledger, run_id: str) -> None:
    ledger.start_run(
        run_id,
        "sums",
        {"start": 1},
        STEPS,
        EDGES,
        runner="local",
        user="ada",
        git_commit="abc",
        cause="a test",
    )


def artifact(name: str) -> ArtifactRecord:
    return ArtifactRecord(name, "out", "m:Type", f"/store/{name}", "0" * 64, {"rows": {"train": 1}})


def finish(ledger: Ledger, run_id: str, step: str, key: str, made: str) -> str:
    execution = ledger.begin(run_id, step, key, {"parameter x": "1"})
    ledger.finish(
        execution,
        "done",
        outputs=[artifact(made)],
        location=f"sums/{step}/{execution}",
        manifest_digest="1" * 64,
    )
    return execution


def reuse(ledger: Ledger, run_id: str, key: str, earlier: str) -> str:
    ledger.reuse(
        run_id,
        "one",
        key,
        {"parameter x": "1"},
        earlier=earlier,
        inputs={},
        outputs=ledger.outputs(earlier),
        started=datetime.now(UTC),
    )
    return ledger.executions(run_id)[0].id


def test_a_run_is_told_as_it_went(ledger: Ledger) -> None:
    start(ledger, "run-1")
    first = finish(ledger, "run-1", "one", "k1", "a1")
    second = ledger.begin("run-1", "two", "k2", {})
    ledger.finish(second, "refused", inputs={"x": ["a1"]}, reasons=["too small"])
    ledger.end_run("run-1", "refused")
    run = ledger.run("run-1")
    assert (run.status, run.user, run.edges, run.parameters) == (
        "refused",
        "ada",
        (("one", "two"),),
        {"start": 1},
    )
    assert run.seconds >= 0
    assert run.started.tzinfo is not None
    one, two = ledger.executions("run-1")
    assert (one.status, one.key, one.attempt) == ("done", "k1", 1)
    assert (two.status, two.reasons) == ("refused", ("too small",))
    assert ledger.outputs(first) == [artifact("a1")]
    assert ledger.inputs(second) == [("x", artifact("a1"))]
    assert ledger.producer("a1").id == first


def test_starting_a_run_twice_adds_nothing(ledger: Ledger) -> None:
    for _ in range(2):
        start(ledger, "run-1")
    assert len(ledger.executions("run-1")) == 2


def test_only_own_finished_work_is_reused(ledger: Ledger) -> None:
    start(ledger, "run-1")
    own = finish(ledger, "run-1", "one", "k", "a1")
    start(ledger, "run-2")
    reused = reuse(ledger, "run-2", "k", own)
    failed = ledger.begin("run-2", "two", "k", {})
    ledger.finish(failed, "failed", reasons=["broke"])
    start(ledger, "run-3")
    passed = ledger.begin("run-3", "one", "k", {})
    override = {"by": "ada", "reason": "late marks"}
    ledger.finish(passed, "done", override=override, location="x", manifest_digest="1")
    assert [execution.id for execution in ledger.reusable("k")] == [own]
    assert ledger.outputs(reused) == [artifact("a1")]


def test_a_result_that_was_forgotten_is_not_reused(ledger: Ledger) -> None:
    start(ledger, "old")
    own = finish(ledger, "old", "one", "k", "a1")
    ledger.end_run("old", "done")
    outputs = ledger.outputs(own)
    ledger.forget(lambda run: False)
    start(ledger, "new")
    with pytest.raises(CorruptArtifact) as caught:
        ledger.reuse(
            "new",
            "one",
            "k",
            {},
            earlier=own,
            inputs={},
            outputs=outputs,
            started=datetime.now(UTC),
        )
    assert caught.value.what == "An artifact was collected as garbage meanwhile."
    assert [step.status for step in ledger.executions("new")] == ["pending", "pending"]


def test_a_further_attempt_is_a_further_row(ledger: Ledger) -> None:
    start(ledger, "run-1")
    first = ledger.begin("run-1", "one", "k", {})
    second = ledger.begin("run-1", "one", "k", {})
    assert first != second
    (newest, _) = ledger.executions("run-1")
    assert (newest.id, newest.attempt) == (second, 2)


def test_what_never_began_is_skipped(ledger: Ledger) -> None:
    start(ledger, "run-1")
    ledger.begin("run-1", "one", "k", {})
    ledger.end_run("run-1", "cancelled")
    assert [e.status for e in ledger.executions("run-1")] == ["cancelled", "cancelled"]


def test_a_run_is_found_by_its_beginning(ledger: Ledger) -> None:
    for name in ("abc-1", "abd-1"):
        start(ledger, name)
    assert ledger.run("abc").id == "abc-1"
    assert ledger.run("latest").id == "abd-1"
    with pytest.raises(UsageError, match="Several runs begin with 'ab'"):
        ledger.run("ab")
    with pytest.raises(UsageError) as caught:
        ledger.run("abe-1")
    assert str(caught.value) == (
        "There is no run 'abe-1'.\n"
        "  expected: did you mean 'abd-1'?\n"
        "  received: 'abe-1'\n"
        "  next:     learnloop runs"
    )


def test_cancelling(ledger: Ledger) -> None:
    start(ledger, "run-1")
    assert not ledger.is_cancel_requested("run-1")
    ledger.request_cancel("run-1")
    assert ledger.is_cancel_requested("run-1")
    ledger.end_run("run-1", "cancelled")
    with pytest.raises(UsageError, match="Run run-1 is not running."):
        ledger.request_cancel("run-1")


def test_forgetting_keeps_what_a_kept_run_draws_on(ledger: Ledger) -> None:
    for name in ("old", "source", "new"):
        start(ledger, name)
    finish(ledger, "old", "one", "k1", "a1")
    source = finish(ledger, "source", "one", "k2", "a2")
    reuse(ledger, "new", "k2", source)
    for name in ("old", "source", "new"):
        ledger.end_run(name, "done")
    expected = (["old"], {source})
    assert ledger.forget(lambda run: run.id == "new", dry_run=True) == expected
    assert len(ledger.runs()) == 3
    assert ledger.forget(lambda run: run.id == "new") == expected
    assert {run.id for run in ledger.runs()} == {"source", "new"}
    assert ledger.find_artifacts("a1") == []


def test_what_is_being_forgotten_cannot_be_reused_meanwhile(ledger: Ledger) -> None:
    """Another process wants to reuse a result between the look at who needs it and its removal."""
    url = ledger._engine.url.render_as_string(hide_password=False)
    other = open_ledger.__wrapped__(url)
    start(ledger, "old")
    own = finish(ledger, "old", "one", "k", "a1")
    ledger.end_run("old", "done")
    start(ledger, "new")
    answers: list[object] = []

    def want() -> None:
        try:
            answers.append(reuse(other, "new", "k", own))
        except CorruptArtifact as fault:
            answers.append(fault.what)

    thread = threading.Thread(target=want)

    def keep(run: RunRecord) -> bool:
        if not thread.is_alive():
            thread.start()
            thread.join(0.5)
        return False

    dropped, needed = ledger.forget(keep)
    thread.join(60)
    assert (dropped, needed) == (["old"], set())
    assert answers == ["An artifact was collected as garbage meanwhile."]
    assert [step.status for step in ledger.executions("new")] == ["pending", "pending"]


def test_writers_at_once(ledger: Ledger) -> None:
    faults: list[BaseException] = []

    def write(number: int) -> None:
        try:
            start(ledger, f"run-{number}")
            finish(ledger, f"run-{number}", "one", f"k{number}", f"a{number}")
            ledger.end_run(f"run-{number}", "done")
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert faults == []
    assert sorted(run.status for run in ledger.runs()) == ["done"] * 8


def test_the_migrations_make_the_tables_that_the_code_has(ledger: Ledger) -> None:
    with ledger._engine.connect() as connection:
        context = MigrationContext.configure(connection)
        differences = compare_metadata(context, metadata)
    assert [d for d in differences if d[0] != "remove_table"] == []


def test_the_code_names_the_newest_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == SCHEMA_REVISION


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    open_ledger(url)
    open_ledger.cache_clear()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LearnLoopError) as caught:
        open_ledger(url)
    assert caught.value.what == "The ledger was written by a newer LearnLoop."
    assert caught.value.next == "install the newer LearnLoop"


def test_an_unreachable_database_is_told_without_its_password() -> None:
    with pytest.raises(LearnLoopError) as caught:
        open_ledger("postgresql+psycopg2://me:secret@127.0.0.1:1/ledger")
    assert caught.value.what == "The ledger cannot be opened."
    assert caught.value.where == "postgresql+psycopg2://me:***@127.0.0.1:1/ledger"
    assert "secret" not in str(caught.value)
