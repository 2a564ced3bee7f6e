"""The local runner: order, cache, resume, refusals, failures, retries, cancelling."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from learnloop import fingerprint
from learnloop.errors import LearnLoopError, UsageError
from learnloop.explain import explain_step
from learnloop.ledger import ExecutionRecord, open_ledger
from learnloop.pipeline import Pipeline, pipeline
from learnloop.runner import NobodyWatches, Run, RunOptions, run_pipeline
from learnloop.settings import Settings
from learnloop.steplog import log_file
from tests.learnloop import steps
from tests.learnloop.steps import add, make


def run(
    pipeline: Pipeline[...],
    settings: Settings,
    options: RunOptions | None = None,
    **parameters: object,
) -> Run:
    return run_pipeline(pipeline, parameters, options, settings=settings)


def statuses(run: Run) -> dict[str, str]:
    ledger = open_ledger(run.settings.ledger_url)
    return {step.step: step.status for step in ledger.executions(run.id)}


def execution(run: Run, step: str) -> ExecutionRecord:
    ledger = open_ledger(run.settings.ledger_url)
    return next(one for one in ledger.executions(run.id) if one.step == step)


def test_a_run_gives_its_artifacts(settings: Settings) -> None:
    ended = run(steps.sums, settings, start=2, length=2)
    assert ended.status == "done"
    assert ended.artifacts["make.number"].load() == {"value": 2}
    assert ended.artifacts["total.number"].load() == {"value": 2 + 3 + 4}
    assert set(statuses(ended).values()) == {"done"}


def test_a_step_begins_as_soon_as_those_before_it_have_ended(settings: Settings) -> None:
    """Also while whoever watches is still told so: steps that end together are no matter."""

    @pipeline
    def together() -> None:
        one = make.named("one")()
        make.named("other")(start=2)
        add.named("after_one")(one.number)

    class Slow(NobodyWatches):
        def __init__(self) -> None:
            self.ended = {name: threading.Event() for name in ("one", "after_one")}

        def step_ended(self, step: str, status: str, seconds: float) -> None:
            if step in self.ended:
                self.ended[step].set()
            if waited_for := {"one": "after_one", "other": "one"}.get(step):
                assert self.ended[waited_for].wait(120)

    ended = run_pipeline(together, {}, settings=settings, watcher=Slow())
    assert ended.status == "done"
    assert ended.results["after_one"].status == "done"


def test_running_again_reuses_everything(settings: Settings) -> None:
    first, second = (run(steps.sums, settings) for _ in range(2))
    assert set(statuses(second).values()) == {"cached"}
    assert [r.outputs for r in first.results.values()] == [
        r.outputs for r in second.results.values()
    ]


def test_only_what_depends_on_a_change_runs_again(settings: Settings) -> None:
    run(steps.sums, settings, more=1)
    changed = run(steps.sums, settings, more=2)
    assert statuses(changed) == {"make": "cached", "add": "done", "add_2": "done", "total": "done"}
    ledger = open_ledger(settings.ledger_url)
    explanation = explain_step(execution(changed, "add"), ledger)
    assert explanation.changes == ("parameter more changed: 1 → 2",)
    explanation = explain_step(execution(changed, "total"), ledger)
    assert len(explanation.changes) == 1
    assert explanation.changes[0].startswith("input numbers changed: ")


def test_equal_content_stops_a_change(settings: Settings) -> None:
    """Step `make` runs again, makes the same, and so nothing after it does."""
    run(steps.sums, settings)
    forced = run(steps.sums, settings, RunOptions(force=("make",)))
    assert statuses(forced) == {
        "make": "done",
        "add": "cached",
        "add_2": "cached",
        "total": "cached",
    }
    again = run(steps.sums, settings, RunOptions(use_cache=False))
    assert set(statuses(again).values()) == {"done"}


def test_only_runs_a_step_and_what_it_needs(settings: Settings) -> None:
    ended = run(steps.sums, settings, RunOptions(only="add"))
    assert statuses(ended) == {"make": "done", "add": "done"}


def test_a_wrong_step_name_is_refused_before_anything_runs(settings: Settings) -> None:
    with pytest.raises(UsageError) as caught:
        run(steps.sums, settings, RunOptions(force=("mke",)))
    assert str(caught.value) == (
        "Pipeline 'sums' has no step 'mke'.\n"
        "  expected: did you mean 'make'?\n"
        "  received: 'mke'\n"
        "  next:     learnloop show sums"
    )
    assert open_ledger(settings.ledger_url).runs() == []


@pytest.mark.parametrize(("is_there", "value"), [(False, 2), (True, 102)])
def test_an_optional_artifact(settings: Settings, is_there: bool, value: int) -> None:
    ended = run(steps.optional, settings, is_there=is_there)
    assert ended.status == "done"
    assert ended.artifacts["add.number"].load() == {"value": value}
    assert ("maybe.number" in ended.artifacts) is is_there


def test_a_gate_refuses_and_keeps_its_report(settings: Settings) -> None:
    ended = run(steps.gated, settings, start=1, least=5)
    assert ended.status == "refused"
    assert ended.error is None
    assert statuses(ended) == {"make": "done", "judge": "refused", "add": "skipped"}
    assert ended.results["judge"].reasons == ("The number is 1, at least 5 is required.",)
    assert ended.artifacts["judge.blessing"].load()["blessed"] is False
    again = run(steps.gated, settings, start=1, least=5)
    assert statuses(again)["judge"] == "refused", "a refusal is never reused as a pass"


def test_an_override_is_recorded_and_never_reused(settings: Settings) -> None:
    options = RunOptions(overrides={"judge": "marks are late this term"}, user="ada")
    ended = run(steps.gated, settings, options, start=1, least=5)
    assert ended.status == "done"
    assert execution(ended, "judge").override == {
        "by": "ada",
        "reason": "marks are late this term",
    }
    without = run(steps.gated, settings, start=1, least=5)
    assert without.status == "refused"


def test_a_failure_stops_what_depends_on_it_alone(settings: Settings) -> None:
    ended = run(steps.failing, settings)
    assert ended.status == "failed"
    assert statuses(ended) == {
        "make": "done",
        "fail": "failed",
        "add": "skipped",
        "beside": "done",
    }
    assert str(ended.error) == (
        "Step 'fail' failed: ValueError: something broke\n"
        "  where:    tests.learnloop.steps:fail\n"
        f"  next:     learnloop logs {ended.id} fail"
    )
    log = log_file(settings, ended.id, "fail").read_text()
    assert "ValueError: something broke" in log
    assert "Traceback" in log
    store = Path(settings.store_location)
    assert list((store / "staging").iterdir()) == [], "nothing half-written stays"
    assert list(store.glob("artifacts/failing/fail/*")) == []


def test_bad_input_keeps_its_exit_code(settings: Settings) -> None:
    ended = run(steps.failing, settings, how="usage")
    assert isinstance(ended.error, UsageError)
    assert str(ended.error) == "The input is bad.\n  where:    here"


def test_an_output_left_empty_is_a_fault(settings: Settings) -> None:
    ended = run(steps.failing, settings, how="nothing")
    assert str(ended.error) == (
        "Step 'fail' left its output 'number' empty.\n"
        "  where:    tests.learnloop.steps:fail\n"
        "  next:     write to 'number', or declare it Output[…] | None"
    )


def test_retries(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "attempts"
    folder.mkdir()
    ended = run(steps.retried, settings, folder=str(folder), until=3)
    assert ended.status == "done"
    assert len(list(folder.iterdir())) == 3
    assert execution(ended, "flaky").attempt == 3
    shutil.rmtree(folder)
    folder.mkdir()
    ended = run(steps.retried, settings, folder=str(folder), until=4)
    assert ended.status == "failed"
    assert ended.error is not None
    assert "ConnectionResetError: the server went away" in ended.error.what


def test_a_timeout_ends_a_step(settings: Settings) -> None:
    began = time.monotonic()
    ended = run(steps.slow, settings, seconds=300.0, timeout=0.2)
    assert ended.status == "failed"
    assert time.monotonic() - began < 100
    assert str(ended.error) == "The step took longer than its timeout."


def test_cancelling_from_elsewhere(settings: Settings) -> None:
    ledger = open_ledger(settings.ledger_url)
    ended: list[Run] = []
    thread = threading.Thread(target=lambda: ended.append(run(steps.slow, settings)))
    thread.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(0.05)
        found = ledger.runs()
        if found and any(s.status == "running" for s in ledger.executions(found[0].id)):
            break
    ledger.request_cancel(found[0].id)
    thread.join(timeout=20)
    assert ended[0].status == "cancelled"
    assert statuses(ended[0])["sleep"] == "cancelled"


def test_a_corrupted_artifact_is_made_again(settings: Settings) -> None:
    first = run(steps.sums, settings)
    damaged = first.artifacts["add.number"].path / "document.json"
    damaged.write_text('{"value": 9999}')
    second = run(steps.sums, settings)
    assert statuses(second)["add"] == "done"
    assert second.artifacts["add.number"].load() == {"value": 2}
    log = log_file(settings, second.id, "add").read_text()
    assert "A published artifact's bytes have changed." in log
    ledger = open_ledger(settings.ledger_url)
    assert "no longer as published" in explain_step(execution(second, "add"), ledger).sentence


def test_a_removed_artifact_is_made_again(settings: Settings) -> None:
    first = run(steps.sums, settings)
    shutil.rmtree(first.artifacts["add.number"].path.parent)
    second = run(steps.sums, settings)
    assert second.status == "done"
    assert statuses(second)["add"] == "done"


def test_a_killed_run_goes_on_from_its_checkpoint(settings: Settings) -> None:
    """The process dies inside a step; the same command then finishes from the scratch folder."""
    command = [sys.executable, "-c", "from tests.learnloop.steps import dying; dying.run()"]
    died = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, timeout=60)
    assert died.returncode == 9
    store = Path(settings.store_location)
    assert list(store.glob("artifacts/dying/resume/*")) == [], "no reader sees the half of it"
    ended = run(steps.dying, settings)
    assert ended.status == "done"
    assert statuses(ended) == {"make": "cached", "resume": "done", "add": "done"}
    assert ended.artifacts["resume.number"].load() == {"value": 1, "from": "half"}
    scratch = list((settings.home_folder / "scratch").iterdir())
    assert scratch == [], "a step that succeeded needs its checkpoint no more"


def test_two_runs_at_once(settings: Settings) -> None:
    ended: list[Run] = []
    threads = [
        threading.Thread(target=lambda: ended.append(run(steps.sums, settings, length=8)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [one.status for one in ended] == ["done"] * 4
    values = [one.artifacts["total.number"].load() for one in ended]
    assert values == [values[0]] * 4


def test_a_full_ledger_or_missing_store_is_told(settings: Settings, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    broken = settings.model_copy(update={"store": str(blocked / "store")})
    with pytest.raises(LearnLoopError) as caught:
        ended = run(steps.sums, broken)
        raise ended.error or AssertionError("the run should have failed")
    assert caught.value.what == "The disk failed: Not a directory."


def test_no_source_is_parsed_beside_a_running_step(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads that parse at once break each other in Python before 3.11.8."""
    parsing: list[str] = []
    parse = ast.parse

    def note_thread(content: bytes) -> ast.Module:
        parsing.append(threading.current_thread().name)
        return parse(content)

    fingerprint._read_source.cache_clear()
    monkeypatch.setattr(fingerprint, "ast", SimpleNamespace(**{**vars(ast), "parse": note_thread}))
    assert run(steps.sums, settings).status == "done"
    assert set(parsing) == {"MainThread"}
