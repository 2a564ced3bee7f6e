"""Garbage collection: what a kept run needs stays, the rest goes; a living run is left alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from learnloop import garbage, holding
from learnloop.errors import UsageError
from learnloop.garbage import Collected, collect_garbage
from learnloop.ledger import Ledger, open_ledger
from learnloop.runner import Run, RunOptions, run_pipeline
from learnloop.settings import Settings
from learnloop.step import _Execution
from learnloop.store import open_store
from learnloop.store.local import LocalStore
from tests.learnloop import steps


def run(settings: Settings, *, use_cache: bool = True, **parameters: object) -> Run:
    options = RunOptions(use_cache=use_cache)
    return run_pipeline(steps.sums, {"length": 1, **parameters}, options, settings=settings)


def collect(settings: Settings, keep_runs: int, *, dry_run: bool = False) -> Collected:
    return collect_garbage(settings, keep_days=0.0, keep_runs=keep_runs, dry_run=dry_run)


def published(settings: Settings) -> set[str]:
    store = open_store(settings.store_location, str(settings.home_folder))
    return set(store.executions())


def runs(settings: Settings) -> list[str]:
    return [one.id for one in open_ledger(settings.ledger_url).runs()]


def test_old_runs_go_and_what_the_kept_one_reused_stays(settings: Settings) -> None:
    run(settings, more=7)
    source = run(settings, more=1)
    last = run(settings, more=1)
    before = published(settings)
    assert len(before) == 5, "make is shared by all three runs"
    planned = collect(settings, 1, dry_run=True)
    assert published(settings) == before
    assert len(runs(settings)) == 3
    assert collect(settings, 1) == planned
    # The kept run drew all it has on `source`, which drew its first step on the oldest run.
    assert planned == Collected(runs=0, executions=0, bytes=0)
    run(settings, use_cache=False, more=1)
    gone = collect(settings, 1)
    assert (gone.runs, gone.executions) == (3, 5)
    assert gone.bytes > 0
    assert len(published(settings)) == 3
    assert source.id not in runs(settings)
    assert last.id not in runs(settings)


def test_logs_and_reports_go_with_their_run(settings: Settings) -> None:
    old, new = run(settings, use_cache=False), run(settings, use_cache=False)
    pages = [old.report, new.report]
    collect(settings, 1)
    assert [page.exists() for page in pages] == [False, True]
    logs = settings.home_folder / "logs"
    assert [(logs / one.id).exists() for one in (old, new)] == [False, True]


def test_a_store_of_another_ledger_is_not_emptied(settings: Settings, tmp_path: Path) -> None:
    run(settings)
    before = published(settings)
    url = f"sqlite:///{tmp_path / 'other.db'}"
    with pytest.raises(UsageError) as caught:
        collect(settings.model_copy(update={"ledger": url}), 0)
    assert str(caught.value) == (
        "The ledger knows nothing of what the store holds: all of it would go.\n"
        f"  where:    {settings.store_location}\n"
        "  expected: the ledger of the runs that filled this store\n"
        f"  received: {url}\n"
        "  next:     set LEARNLOOP_LEDGER, or empty the store by hand"
    )
    assert published(settings) == before


def test_young_runs_are_kept(settings: Settings) -> None:
    run(settings, more=1)
    run(settings, use_cache=False, more=2)
    collected = collect_garbage(settings, keep_days=1.0, keep_runs=0, dry_run=False)
    assert collected == Collected(0, 0, 0)


def test_kept_results_are_still_reused(settings: Settings) -> None:
    run(settings, use_cache=False)
    kept = run(settings, use_cache=False)
    collect(settings, 1)
    again = run(settings)
    assert {result.status for result in again.results.values()} == {"cached"}
    assert again.artifacts["total.number"].path == kept.artifacts["total.number"].path


def test_collected_results_are_made_again(settings: Settings) -> None:
    first = run(settings, more=1).artifacts["total.number"].load()
    run(settings, use_cache=False, more=2)
    collect(settings, 1)
    again = run(settings, more=1)
    assert [result.status for result in again.results.values()] == ["cached", "done", "done"]
    assert again.artifacts["total.number"].load() == first


def test_an_execution_whose_manifest_is_damaged_goes_too(settings: Settings) -> None:
    damaged = run(settings, use_cache=False).artifacts["add.number"].path.parent
    (damaged / "manifest.json").write_text("{")
    run(settings, use_cache=False)
    assert collect(settings, 1).executions == 3
    assert not damaged.exists()


@pytest.mark.parametrize("place", ["staging", "scratch"])
def test_what_a_killed_step_left_goes_and_a_living_one_keeps(
    settings: Settings, place: str
) -> None:
    run(settings)
    root = Path(settings.store_location) if place == "staging" else settings.home_folder
    left, working, young = (root / place / name for name in ("left", "working", "young"))
    for folder in (left, working, young):
        folder.mkdir(parents=True)
        (folder / "part").touch()
    old = time.time() - garbage.ABANDONED_SECONDS - 10
    for folder in (left, working):
        os.utime(folder, (old, old))
    with holding.hold(working):
        collect(settings, 1)
    assert [folder.exists() for folder in (left, working, young)] == [False, True, True]


def test_an_old_run_that_still_runs_is_kept_and_a_dead_one_is_not(settings: Settings) -> None:
    """A process that was killed said nothing: its run stays on record as running until now."""
    ledger = open_ledger(settings.ledger_url)
    start(ledger, "alive")
    start(ledger, "dead")
    alive, dead = (settings.home_folder / "logs" / name for name in ("alive", "dead"))
    dead.mkdir(parents=True)
    ledger.begin("dead", "make", "k", {})
    with holding.hold(alive):
        assert collect(settings, 0).runs == 1
        assert runs(settings) == ["alive"]
        assert ledger.run("alive").status == "running"


def test_a_dead_run_is_recorded_as_failed_when_the_next_one_starts(settings: Settings) -> None:
    ledger = open_ledger(settings.ledger_url)
    start(ledger, "dead")
    start(ledger, "elsewhere")
    (settings.home_folder / "logs" / "dead").mkdir(parents=True)
    ledger.begin("dead", "make", "k", {})
    run(settings)
    assert ledger.run("dead").status == "failed"
    (step,) = ledger.executions("dead")
    assert (step.status, step.reasons) == (
        "failed",
        ("The process that ran this attempt ended without a word.",),
    )
    assert ledger.run("elsewhere").status == "running", "another home's: nothing is known of it"


def test_a_dead_run_of_either_runner_is_recorded_but_not_one_that_airflow_tells_of(
    settings: Settings,
) -> None:
    ledger = open_ledger(settings.ledger_url)
    for name in ("dead", "small~retrain-7"):
        start(ledger, name, runner="airflow")
        (settings.home_folder / "logs" / name).mkdir(parents=True)
        ledger.begin(name, "make", "k", {})
    collect(settings, 2)
    assert ledger.run("dead").status == "failed"
    assert ledger.run("small~retrain-7").status == "running", "its worker may be anywhere"


def test_what_a_step_has_published_but_not_yet_recorded_is_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collection comes between the store's publish and the ledger's finish of a running step."""
    collected: list[Collected] = []
    finish = Ledger.finish

    def collect_first(self: Ledger, *arguments: object, **named: object) -> None:
        collected.append(collect(settings, 0))
        finish(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "finish", collect_first)
    ended = run(settings)
    assert ended.status == "done"
    assert collected == [Collected(0, 0, 0)] * 3
    assert ended.artifacts["total.number"].load() == {"value": 3}


def test_a_step_that_works_for_days_keeps_its_folders(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collection comes while the function runs; no folder's age protects it, but its hold does."""
    monkeypatch.setattr(garbage, "ABANDONED_SECONDS", -5.0)
    held: list[tuple[int, int]] = []
    call = _Execution._call

    def collect_first(self: _Execution, arguments: Any) -> tuple[str, ...]:
        collect(settings, 0)
        staged = Path(settings.store_location) / "staging"
        scratch = settings.home_folder / "scratch"
        held.append((len(list(staged.iterdir())), len(list(scratch.glob("*")))))
        return call(self, arguments)

    monkeypatch.setattr(_Execution, "_call", collect_first)
    ended = run_pipeline(steps.slow, {"seconds": 0.01}, settings=settings)
    assert ended.status == "done"
    assert held == [(1, 0), (1, 1)], "the second step takes a context, and so has scratch space"


def test_a_reused_result_that_is_collected_meanwhile_is_made_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collection comes between the verification of a hit and its record."""
    run(settings)
    verify = LocalStore.verify

    def collect_after(self: LocalStore, *arguments: str) -> None:
        verify(self, *arguments)
        collect(settings, 0)

    monkeypatch.setattr(LocalStore, "verify", collect_after)
    ended = run(settings)
    assert ended.status == "done"
    assert {result.status for result in ended.results.values()} == {"done"}
    assert ended.artifacts["total.number"].load() == {"value": 3}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_collecting_while_runs_go_on(
    settings: Settings, request: pytest.FixtureRequest, database: str
) -> None:
    if database == "postgresql":
        new_database: Callable[[], str] = request.getfixturevalue("new_postgres_database")
        settings = settings.model_copy(update={"ledger": new_database()})
    ended: list[Run] = []

    def work(number: int) -> None:
        for turn in range(3):
            ended.append(run(settings, start=number, more=turn % 2, use_cache=turn != 1))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        collect(settings, 0)
    for thread in threads:
        thread.join(timeout=60)
    assert [one.error for one in ended] == [None] * 6
    assert [one.status for one in ended] == ["done"] * 6


def start(ledger: Ledger, run_id: str, runner: str = "local") -> None:
    ledger.start_run(
        run_id,
        "sums",
        {},
        [("make", "m:make")],
        [],
        runner=runner,
        user="ada",
        git_commit="",
        cause="a test",
    )


def test_what_is_forgotten_while_it_is_about_to_be_reused_is_made_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two questions of a step to the ledger, the record of its outputs went."""
    run(settings)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "outputs", lambda ledger, execution_id: [])
        again = run(settings)
    assert again.status == "done"
    assert {result.status for result in again.results.values()} == {"done"}
