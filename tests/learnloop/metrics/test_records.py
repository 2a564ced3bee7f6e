"""Runs and steps as Prometheus reads them, on SQLite and PostgreSQL."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from learnloop.errors import LearnLoopError, UsageError
from learnloop.ledger import Ledger, open_ledger
from learnloop.ledger.tables import executions
from learnloop.metrics.page import RecordCollector, Source, serving_metrics
from learnloop.metrics.records import describe_runs
from learnloop.settings import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite":
        return Settings(home=tmp_path / "home")
    return Settings(
        home=tmp_path / "home", ledger=request.getfixturevalue("new_postgres_database")()
    )


@pytest.fixture
def local(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", predictions=tmp_path / "none", events=tmp_path / "none")


def begin(ledger: Ledger, run_id: str, pipeline: str = "exams", **parameters: object) -> None:
    ledger.start_run(
        run_id,
        pipeline,
        parameters,
        [("fit", "m:fit"), ("judge", "m:judge")],
        [],
        runner="local",
        user="ada",
        git_commit="abc",
        cause="a test",
    )


def end(ledger: Ledger, run_id: str, status: str) -> None:
    step = ledger.begin(run_id, "fit", None, None)
    ledger.finish(step, "done", outputs=[], location=f"x/fit/{step}", manifest_digest="1" * 64)
    ledger.end_run(run_id, status)


def page(settings: Settings, **sources: Source) -> list[str]:
    registry = CollectorRegistry()
    registry.register(RecordCollector(settings, sources))
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def values(lines: Iterable[str], name: str) -> list[str]:
    return sorted(line.removeprefix(f"learnloop_{name}") for line in lines if f"_{name}{{" in line)


def test_how_runs_ended(settings: Settings) -> None:
    ledger = open_ledger(settings.ledger_url)
    for run_id, status in (("a", "done"), ("b", "done"), ("c", "refused")):
        begin(ledger, run_id)
        end(ledger, run_id, status)
    for model, status in (("exams", "failed"), ("practice", "done")):
        begin(ledger, model, "monitoring", model=model)
        end(ledger, model, status)
    begin(ledger, "d")
    begin(ledger, "e")
    told = page(settings, runs=describe_runs)
    assert values(told, "runs") == [
        '{model="",pipeline="exams",status="done"} 2.0',
        '{model="",pipeline="exams",status="refused"} 1.0',
        '{model="",pipeline="exams",status="running"} 2.0',
        '{model="exams",pipeline="monitoring",status="failed"} 1.0',
        '{model="practice",pipeline="monitoring",status="done"} 1.0',
    ]
    assert [line for line in values(told, "run_last_status") if line.endswith(" 1.0")] == [
        '{model="",pipeline="exams",status="refused"} 1.0',
        '{model="exams",pipeline="monitoring",status="failed"} 1.0',
        '{model="practice",pipeline="monitoring",status="done"} 1.0',
    ]
    runs = {run.id: run for run in ledger.runs()}
    (running,) = values(told, "run_oldest_running_timestamp_seconds")
    assert float(running.split()[1]) == pytest.approx(runs["d"].started.timestamp(), abs=1e-3)
    (done,) = (
        line
        for line in values(told, "run_last_ended_timestamp_seconds")
        if '"exams",status="done"' in line
    )
    last = runs["b"].ended
    assert last is not None
    assert float(done.split()[1]) == pytest.approx(last.timestamp(), abs=1e-3)


def test_how_steps_ended_and_how_long_they_took(settings: Settings) -> None:
    ledger = open_ledger(settings.ledger_url)
    for run_id, seconds in (("a", 5), ("b", 2)):
        begin(ledger, run_id)
        end(ledger, run_id, "done")
        ended = ledger.executions(run_id)[0].ended
        assert ended is not None
        change = sa.update(executions).where(executions.c.run_id == run_id)
        with ledger.transaction() as connection:
            connection.execute(change.values(started=ended - timedelta(seconds=seconds)))
    told = page(settings, runs=describe_runs)
    assert values(told, "steps") == [
        '{pipeline="exams",status="done",step="fit"} 2.0',
        '{pipeline="exams",status="skipped",step="judge"} 2.0',
    ]
    assert values(told, "step_last_duration_seconds") == ['{pipeline="exams",step="fit"} 2.0']


def test_nothing_is_made_where_nothing_is_on_record(local: Settings) -> None:
    assert page(local, runs=describe_runs) == ['learnloop_metrics_source_up{source="runs"} 1.0']
    assert not local.home_folder.exists()


def test_a_source_that_fails_hides_no_other(
    local: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(settings: Settings) -> Iterable[Metric]:
        raise LearnLoopError("The ledger is away.", where="postgresql://ledger")

    assert page(local, ledger=fail, runs=describe_runs) == [
        'learnloop_metrics_source_up{source="ledger"} 0.0',
        'learnloop_metrics_source_up{source="runs"} 1.0',
    ]
    assert caplog.messages == [
        "The source 'ledger' cannot be read: The ledger is away.\n  where:    postgresql://ledger"
    ]


def test_the_page_asks_the_sources_of_all_packages(local: Settings) -> None:
    with serving_metrics(local, 0, "127.0.0.1") as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            told = answer.read().decode()
        with (
            pytest.raises(UsageError) as refused,
            serving_metrics(local, port, "127.0.0.1"),
        ):
            pass
    up = re.findall(r'^learnloop_metrics_source_up\{source="(\w+)"\} 1\.0$', told, re.MULTILINE)
    assert sorted(up) == ["disk", "features", "monitors", "runs", "serving"]
    assert str(refused.value) == (
        "The port of the metrics cannot be had.\n"
        f"  where:    127.0.0.1:{port}\n"
        "  received: Address already in use\n"
        "  next:     learnloop metrics --port 0"
    )
