"""Both runners do the same: statuses, digests, cache hits, refusals, failures, resumption."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from learnloop.airflow.runner import run_with_airflow
from learnloop.errors import GraphError, UsageError
from learnloop.ledger import open_ledger
from learnloop.living import abandon_dead_runs
from learnloop.pipeline import Pipeline
from learnloop.runner import Run, RunOptions, run_pipeline
from learnloop.settings import Settings
from learnloop.steplog import log_file
from tests.learnloop import steps
from tests.learnloop.airflow.conftest import ROOT

pytestmark = pytest.mark.xdist_group("airflow")


@dataclass(frozen=True)
class Case:
    """Runs of one pipeline, one after the other, in one home."""

    name: str
    pipeline: Pipeline[...]
    runs: tuple[tuple[dict[str, Any], RunOptions], ...]
    statuses: tuple[str, ...]
    last_steps: dict[str, str] = field(default_factory=dict)


def once(**parameters: Any) -> tuple[dict[str, Any], RunOptions]:
    return parameters, RunOptions()


TALKATIVE = ("gate refuses, is let pass, passes", "fault beside a branch that goes on", "timeout")
"""Cases whose steps write to their logs: where Airflow is not let to silence them."""

CASES = (
    Case(
        "chain, fan-in, hits",
        steps.sums,
        (once(length=2), once(length=2), once(length=2, more=2)),
        ("done", "done", "done"),
        {"make": "cached", "add": "done", "add_2": "done", "total": "done"},
    ),
    Case(
        "fan-out by a parameter",
        steps.sums,
        (once(length=1), once(length="3")),
        ("done", "done"),
        {"make": "cached", "add": "cached", "add_2": "done", "add_3": "done", "total": "done"},
    ),
    Case(
        "forced, and without the cache",
        steps.sums,
        (once(), ({}, RunOptions(force=("make",))), ({}, RunOptions(use_cache=False))),
        ("done", "done", "done"),
        {"make": "done", "add": "done", "add_2": "done", "total": "done"},
    ),
    Case(
        "one step and what it needs",
        steps.sums,
        (({}, RunOptions(only="add")), once()),
        ("done", "done"),
        {"make": "cached", "add": "cached", "add_2": "done", "total": "done"},
    ),
    Case(
        "optional input",
        steps.optional,
        (once(), once(is_there=True)),
        ("done", "done"),
        {"make": "cached", "maybe": "done", "add": "done"},
    ),
    Case(
        "gate refuses, is let pass, passes",
        steps.gated,
        (
            once(),
            ({}, RunOptions(overrides={"judge": "late marks"}, user="ada")),
            once(),
            once(start=7),
        ),
        ("refused", "done", "refused", "done"),
        {"make": "done", "judge": "done", "add": "done"},
    ),
    Case(
        "fault beside a branch that goes on",
        steps.failing,
        (once(), once(how="usage"), once(how="nothing")),
        ("failed", "failed", "failed"),
        {"make": "cached", "fail": "failed", "add": "skipped", "beside": "cached"},
    ),
    Case(
        "timeout",
        steps.slow,
        (once(seconds=20.0, timeout=0.2),),
        ("failed",),
        {"make": "done", "sleep": "failed"},
    ),
)


def on_both(case: Case, tmp_path: Path) -> list[list[Run]]:
    """Run a case on both runners, each with an empty home of its own."""
    ended = []
    for name in ("local", "airflow"):
        settings = Settings(home=tmp_path / name)
        if name == "local":
            ended.append(
                [run_pipeline(case.pipeline, p, o, settings=settings) for p, o in case.runs]
            )
        else:
            ended.append([run_with_airflow(case.pipeline, p, o, settings) for p, o in case.runs])
    return ended


def recorded(run: Run) -> dict[str, Any]:
    """What the ledger and the run say, without what differs between any two runs."""
    ledger = open_ledger(run.settings.ledger_url)
    record = ledger.run(run.id)
    told = ledger.executions(run.id)
    return {
        "status": (run.status, record.status),
        "parameters": record.parameters,
        "edges": record.edges,
        "who and why": (record.user, record.cause),
        "ended": record.ended is not None,
        "steps": [(one.step, one.status, one.attempt, one.key, one.override) for one in told],
        "reasons": [tuple(r.replace(run.id, "RUN") for r in one.reasons) for one in told],
        "inputs": [
            [(name, artifact.content_digest) for name, artifact in ledger.inputs(one.id)]
            for one in told
        ],
        "results": {
            step: (
                result.status,
                result.reasons,
                result.is_overridden,
                {
                    n: o and (o.type, o.content_digest, o.metadata)
                    for n, o in result.outputs.items()
                },
            )
            for step, result in sorted(run.results.items())
        },
        "logs": [_lines(log_file(run.settings, run.id, one.step)) for one in told],
        "error": (type(run.error), str(run.error).replace(run.id, "RUN")),
    }


def _lines(path: Path) -> list[str]:
    """A log without its times, and without progress, which depends on time."""
    text = path.read_text() if path.exists() else ""
    lines = [re.sub(r"^[-0-9]+ [:0-9]+,\d+ ", "", line) for line in text.splitlines()]
    return [line for line in lines if not line.startswith("INFO")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_runners_agree(case: Case, settings: Settings, tmp_path: Path) -> None:
    local, airflow = on_both(case, tmp_path)
    assert [run.status for run in airflow] == list(case.statuses)
    assert [recorded(run) for run in airflow] == [recorded(run) for run in local]
    ledger = open_ledger(airflow[-1].settings.ledger_url)
    assert ledger.run(airflow[-1].id).runner == "airflow"
    has_logged = any(any(recorded(run)["logs"]) for run in airflow)
    assert has_logged == (case.name in TALKATIVE)
    found = {one.step: one.status for one in ledger.executions(airflow[-1].id)}
    assert found == case.last_steps


def test_retries_and_resumption_agree(settings: Settings, tmp_path: Path) -> None:
    """Three attempts are not enough at first; the run after it needs only what was not done."""
    attempts = tmp_path / "attempts"
    seen = []
    for name, run in (("local", _run_locally), ("airflow", run_with_airflow)):
        attempts.mkdir()
        home = Settings(home=tmp_path / name)
        ended = [
            run(steps.retried, {"folder": str(attempts), "until": 4}, RunOptions(), home)
            for _ in range(2)
        ]
        seen.append([recorded(one) for one in ended])
        assert [one.status for one in ended] == ["failed", "done"]
        assert len(list(attempts.iterdir())) == 4
        for one in attempts.iterdir():
            one.unlink()
        attempts.rmdir()
    assert seen[0] == seen[1]


def _run_locally(
    pipeline: Pipeline[...], parameters: dict[str, Any], options: RunOptions, home: Settings
) -> Run:
    return run_pipeline(pipeline, parameters, options, settings=home)


def test_a_wrong_step_name_is_refused_before_anything_runs(settings: Settings) -> None:
    with pytest.raises(UsageError) as caught:
        run_with_airflow(steps.sums, {}, RunOptions(overrides={"totl": "why not"}), settings)
    assert str(caught.value) == (
        "Pipeline 'sums' has no step 'totl'.\n"
        "  expected: did you mean 'total'?\n"
        "  received: 'totl'\n"
        "  next:     learnloop show sums"
    )
    assert not settings.home_folder.exists()


@dataclass
class Listener:
    """Writes down what a watcher is told, and may act on it."""

    told: list[tuple[str, ...]] = field(default_factory=list)
    interrupt_at: str = ""

    def run_started(self, run_id: str, graph: object) -> None:
        self.told.append(("run",))

    def step_started(self, step: str) -> None:
        self.told.append(("started", step))

    def step_progressed(self, step: str, text: str, numbers: object) -> None:
        if step == self.interrupt_at:
            self.interrupt_at = ""
            self.told.append(("progressed", step, text))
            os.kill(os.getpid(), signal.SIGINT)

    def step_ended(self, step: str, status: str, seconds: float) -> None:
        self.told.append(("ended", step, status))


def test_a_watcher_is_told(settings: Settings) -> None:
    watcher = Listener()
    run_with_airflow(steps.gated, {}, None, settings, watcher)
    assert watcher.told == [
        ("run",),
        ("started", "make"),
        ("ended", "make", "done"),
        ("started", "judge"),
        ("ended", "judge", "refused"),
        ("ended", "add", "skipped"),
    ]


def test_a_living_run_is_not_taken_for_a_dead_one(settings: Settings) -> None:
    """Another process looks for dead runs while a step of this one is at work."""
    ledger = open_ledger(settings.ledger_url)
    seen: list[str] = []

    class Other(Listener):
        def step_started(self, step: str) -> None:
            abandon_dead_runs(ledger, settings)
            seen.append(ledger.run("living").status)

    ended = run_with_airflow(steps.optional, {}, RunOptions(run_id="living"), settings, Other())
    assert (ended.status, set(seen)) == ("done", {"running"})


@pytest.mark.slow
def test_a_killed_run_is_recorded_when_the_next_one_starts(settings: Settings) -> None:
    script = (
        "import os, signal\n"
        "from learnloop.airflow.runner import run_with_airflow\n"
        "from learnloop.runner import NobodyWatches, RunOptions\n"
        "from tests.learnloop.steps import slow\n"
        "class Killer(NobodyWatches):\n"
        "    def step_progressed(self, step, text, numbers):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "run_with_airflow(slow, {'seconds': 60.0}, RunOptions(run_id='killed'), None, Killer())\n"
    )
    environment = {n: v for n, v in os.environ.items() if not n.startswith("AIRFLOW")}
    died = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, timeout=300, check=False
    )
    assert died.returncode == -signal.SIGKILL
    ledger = open_ledger(settings.ledger_url)
    assert ledger.run("killed").status == "running"
    assert run_with_airflow(steps.optional, {}, None, settings).status == "done"
    assert ledger.run("killed").status == "failed"
    told = {one.step: one for one in ledger.executions("killed")}
    assert told["sleep"].reasons == ("The process that ran this attempt ended without a word.",)


def test_control_c_cancels(settings: Settings) -> None:
    watcher = Listener(interrupt_at="sleep")
    before = signal.getsignal(signal.SIGTERM)
    began = time.monotonic()
    ended = run_with_airflow(steps.slow, {"seconds": 120.0}, None, settings, watcher)
    assert time.monotonic() - began < 60
    assert ended.status == "cancelled"
    assert ended.error is None
    assert watcher.told[-2:] == [
        ("progressed", "sleep", "sleeping"),
        ("ended", "sleep", "cancelled"),
    ]
    ledger = open_ledger(settings.ledger_url)
    assert ledger.run(ended.id).status == "cancelled"
    assert [one.status for one in ledger.executions(ended.id)] == ["done", "cancelled"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_cancelling_from_elsewhere(settings: Settings) -> None:
    ledger = open_ledger(settings.ledger_url)
    options = RunOptions(run_id="slow-to-cancel")

    def cancel() -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            time.sleep(0.1)
            if [one.status for one in ledger.executions("slow-to-cancel")] == ["done", "running"]:
                ledger.request_cancel("slow-to-cancel")
                return

    thread = threading.Thread(target=cancel)
    thread.start()
    ended = run_with_airflow(steps.slow, {"seconds": 30.0}, options, settings)
    thread.join()
    assert (ended.id, ended.status) == ("slow-to-cancel", "cancelled")
    assert [one.status for one in ledger.executions(ended.id)] == ["done", "cancelled"]


def test_airflow_runs_in_the_main_thread_only(settings: Settings) -> None:
    faults: list[UsageError] = []

    def run() -> None:
        try:
            run_with_airflow(steps.sums, {}, None, settings)
        except UsageError as fault:
            faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert str(faults[0]) == (
        "Airflow runs tasks in the main thread only.\n  next:     --runner local"
    )


def test_a_parameter_named_like_a_field_of_the_form(settings: Settings) -> None:
    with pytest.raises(GraphError) as caught:
        run_with_airflow(clashing, {}, None, settings)
    assert str(caught.value) == (
        "Parameter 'cause' has the name of a field that every DAG's form has.\n"
        "  where:    tests.learnloop.airflow.test_runner:clash\n"
        "  next:     give the parameter another name"
    )


def clash(cause: str = "") -> None:
    """Take what the form takes."""
    steps.make()


from learnloop.pipeline import pipeline  # noqa: E402

clashing = pipeline(clash)


def test_the_persons_own_airflow_is_not_touched(settings: Settings, tmp_path: Path) -> None:
    """Neither its home nor its database is written, and standard output is the command's alone."""
    home = tmp_path / "theirs"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    script = (
        "from learnloop.airflow.runner import run_with_airflow\n"
        "from tests.learnloop.steps import optional\n"
        "print(run_with_airflow(optional, {}).status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    assert not home.exists()
    assert (settings.home_folder / "airflow-in-process" / "airflow.db").exists()


def test_an_airflow_imported_for_another_home_is_refused(tmp_path: Path) -> None:
    script = (
        "import airflow.sdk\n"
        "from learnloop.airflow.runner import run_with_airflow\n"
        "from tests.learnloop.steps import optional\n"
        "try:\n"
        "    run_with_airflow(optional, {})\n"
        "except Exception as fault:\n"
        "    print(fault)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path / "theirs")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == (
        "Airflow was imported with another home, which a run in this process would write to.\n"
        f"  where:    {tmp_path / 'theirs'}\n"
        "  next:     run the pipeline in a process that has not imported Airflow\n"
    )
