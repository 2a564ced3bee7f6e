"""One step from its specification: JSON, what is recorded, what is counted."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from learnloop.artifacts import Evaluation
from learnloop.component import Context, Input, Output, component
from learnloop.errors import LearnLoopError, UsageError
from learnloop.ledger import ArtifactRecord, ExecutionRecord, Ledger, open_ledger
from learnloop.pipeline import Node, pipeline
from learnloop.runner import Run, run_graph, run_pipeline
from learnloop.settings import Settings
from learnloop.step import StepResult, StepSpec, execute_step
from learnloop.steplog import log_file, step_log
from learnloop.store.local import LocalStore
from tests.learnloop import steps

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.builds(
    ArtifactRecord,
    id=st.text(),
    output=st.text(),
    type=st.text(),
    uri=st.text(),
    content_digest=st.text(),
    metadata=st.dictionaries(st.text(), JSON, max_size=3),
)
SPECS = st.builds(
    StepSpec,
    run_id=st.text(),
    pipeline=st.text(),
    step=st.text(),
    component=st.text(),
    parameters=st.dictionaries(st.text(), JSON, max_size=3),
    inputs=st.dictionaries(st.text(), st.lists(RECORDS, max_size=2).map(tuple), max_size=3),
    reuse=st.booleans(),
    override=st.none() | st.fixed_dictionaries({"by": st.text(), "reason": st.text()}),
)
RESULTS = st.builds(
    StepResult,
    step=st.text(),
    status=st.sampled_from(["done", "cached", "refused"]),
    outputs=st.dictionaries(st.text(), st.none() | RECORDS, max_size=3),
    key=st.text(),
    seconds=st.floats(0, 1e6),
    reasons=st.lists(st.text(), max_size=2).map(tuple),
    is_overridden=st.booleans(),
)


@given(spec=SPECS)
def test_a_specification_survives_json(spec: StepSpec) -> None:
    assert StepSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@given(result=RESULTS)
def test_a_result_survives_json(result: StepResult) -> None:
    assert StepResult.from_json(json.loads(json.dumps(result.to_json()))) == result


@pytest.mark.parametrize(("change", "received"), [({"format": 2}, "2"), ({"format": None}, "None")])
def test_a_specification_of_another_format_is_refused(
    change: Mapping[str, Any], received: str
) -> None:
    document = {**spec_of("run", "make", {"start": 1}).to_json(), **change}
    with pytest.raises(UsageError) as caught:
        StepSpec.from_json(document)
    assert str(caught.value) == (
        "A step's specification has another format.\n"
        "  expected: format 1\n"
        f"  received: {received}\n"
        "  next:     use the same LearnLoop where steps are planned and where they run"
    )


@component(resolve=lambda parameters, settings: _look(parameters["source"]))
def take(number: Output[Evaluation], *, source: str) -> None:
    """Read a number from a file outside."""
    number.write({"value": int(Path(source).read_text())})


def _look(source: str) -> dict[str, str]:
    if not Path(source).is_file():
        raise UsageError("A source is missing.", where=source)
    return {"source": Path(source).read_text()}


@component
def keep(one: Input[Evaluation], number: Output[Evaluation], *, context: Context) -> None:
    """Leave a checkpoint in the scratch folder."""
    kept = context.scratch / "checkpoint"
    seen = kept.exists()
    kept.touch()
    number.write({"value": one.load()["value"], "resumed": seen})


@pipeline
def taken(source: str) -> None:
    """Take a number and keep it."""
    keep(take(source=source).number)


def spec_of(run_id: str, step: str, parameters: Mapping[str, Any]) -> StepSpec:
    return StepSpec(
        run_id=run_id,
        pipeline="by_hand",
        step=step,
        component=f"tests.learnloop.steps:{step}",
        parameters=parameters,
        inputs={},
    )


def start(settings: Settings, *names: str) -> Ledger:
    ledger = open_ledger(settings.ledger_url)
    ledger.start_run(
        "run",
        "by_hand",
        {},
        [(name, f"tests.learnloop.steps:{name}") for name in names],
        [],
        runner="local",
        user="ada",
        git_commit="",
        cause="a test",
    )
    return ledger


def execution(run: Run, step: str) -> ExecutionRecord:
    ledger = open_ledger(run.settings.ledger_url)
    return next(one for one in ledger.executions(run.id) if one.step == step)


def test_a_step_runs_from_its_json_alone(settings: Settings) -> None:
    ledger = start(settings, "make")
    document = json.loads(json.dumps(spec_of("run", "make", {"start": 41}).to_json()))
    result = execute_step(StepSpec.from_json(document), settings=settings)
    assert (result.step, result.status, len(result.key)) == ("make", "done", 64)
    record = result.outputs["number"]
    assert record is not None
    assert Evaluation.open(Path(record.uri)).load() == {"value": 41}
    (recorded,) = ledger.executions("run")
    assert (recorded.status, recorded.key) == ("done", result.key)
    again = execute_step(StepSpec.from_json(document), settings=settings)
    assert (again.status, again.outputs) == ("cached", result.outputs)
    assert ledger.executions("run")[0].attempt == 2


def test_what_is_not_a_component_is_told(settings: Settings) -> None:
    start(settings, "make")
    spec = StepSpec("run", "p", "make", "tests.learnloop.steps:sums", {}, {})
    with pytest.raises(UsageError) as caught:
        execute_step(spec, settings=settings)
    assert str(caught.value) == (
        "'tests.learnloop.steps:sums' is not a component.\n"
        "  expected: a function decorated with @component"
    )


def test_a_failure_before_the_key_is_recorded_too(settings: Settings, tmp_path: Path) -> None:
    """A source that is missing is found while the key is made: the step failed, not "skipped"."""
    source = tmp_path / "source"
    ended = run_pipeline(taken, {"source": str(source)}, settings=settings)
    assert str(ended.error) == f"A source is missing.\n  where:    {source}"
    recorded = execution(ended, "take")
    assert (recorded.status, recorded.reasons, recorded.key, recorded.parts) == (
        "failed",
        (str(ended.error),),
        None,
        None,
    )
    assert "A source is missing." in log_file(settings, ended.id, "take").read_text()


def test_a_checkpoint_outlives_a_publication_that_fails(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of training are not lost because the store was full at their end."""
    source = tmp_path / "source"
    source.write_text("7")
    publish = LocalStore.publish

    def fail(self: LocalStore, name: str, staged: Path) -> Any:
        if "/keep/" in name:
            raise LearnLoopError("The disk is full.")
        return publish(self, name, staged)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "publish", fail)
        ended = run_pipeline(taken, {"source": str(source)}, settings=settings)
    assert str(ended.error) == "The disk is full."
    assert len(list((settings.home_folder / "scratch").glob("*/checkpoint"))) == 1
    assert list((Path(settings.store_location) / "staging").iterdir()) == []
    ended = run_pipeline(taken, {"source": str(source)}, settings=settings)
    assert ended.artifacts["keep.number"].load() == {"value": 7, "resumed": True}
    assert list((settings.home_folder / "scratch").iterdir()) == []


def test_results_of_another_store_are_not_reused(settings: Settings, tmp_path: Path) -> None:
    """A copied store is not the one whose addresses are on record."""
    run_pipeline(steps.sums, {}, settings=settings)
    copied = settings.model_copy(update={"store": str(tmp_path / "copy")})
    shutil.copytree(settings.store_location, copied.store_location)
    ended = run_pipeline(steps.sums, {}, settings=copied)
    assert {result.status for result in ended.results.values()} == {"done"}
    assert "It lies in another store: " in log_file(settings, ended.id, "make").read_text()


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[str]]:
    """The SQL statements that are executed meanwhile, by their first word."""
    words: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        words.append(statement.split()[0])

    sa.event.listen(ledger._engine, "before_cursor_execute", note)
    try:
        yield words
    finally:
        sa.event.remove(ledger._engine, "before_cursor_execute", note)


def test_how_many_statements_a_step_costs(settings: Settings) -> None:
    ledger = start(settings, "make", "total")
    with statements(ledger) as words:
        execute_step(spec_of("run", "make", {"start": 1}), settings=settings)
    began, ended = ["BEGIN", "UPDATE"], ["BEGIN", "INSERT", "INSERT", "UPDATE"]
    assert words == ["SELECT", *began, *ended]
    ledger = start(settings)
    ledger.start_run(
        "again",
        "by_hand",
        {},
        [("make", "tests.learnloop.steps:make")],
        [],
        runner="local",
        user="ada",
        git_commit="",
        cause="a test",
    )
    with statements(ledger) as words:
        result = execute_step(spec_of("again", "make", {"start": 1}), settings=settings)
    assert result.status == "cached"
    assert words == ["SELECT", "SELECT", "BEGIN", "UPDATE", "INSERT"], "one transaction"


def test_a_step_that_says_nothing_has_no_log(settings: Settings) -> None:
    ended = run_pipeline(steps.sums, {}, settings=settings)
    assert list((settings.home_folder / "logs" / ended.id).iterdir()) == []


def test_how_many_files_a_cached_step_opens(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code, the manifest, and each published file once."""
    run_pipeline(steps.sums, {"length": 1}, settings=settings)
    opened: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and counting:
            opened.append(arguments[0])

    counting = True
    sys.addaudithook(note)
    ended = run_pipeline(steps.sums, {"length": 1}, settings=settings)
    counting = False
    assert {result.status for result in ended.results.values()} == {"cached"}
    assert len([name for name in opened if name.endswith("manifest.json")]) == 3
    assert len([name for name in opened if name.endswith("document.json")]) == 3


def test_a_log_that_cannot_be_written_fails_nothing(settings: Settings) -> None:
    (settings.home_folder / "logs").mkdir(parents=True)
    (settings.home_folder / "logs" / "run").touch()
    with step_log(settings, "run", "make"):
        logging.getLogger("learnloop").warning("nobody will read this")


@pipeline
def wide(width: int) -> None:
    """Do many things that need nothing of each other."""
    for start in range(width):
        steps.make(start=start)


def test_planning_looks_at_each_step_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at all that wait, whenever one ends, made a thousand steps cost half a million."""
    looks: list[str] = []
    upstream = Node.upstream.fget
    assert upstream is not None

    def look(self: Node) -> tuple[str, ...]:
        looks.append(self.name)
        return upstream(self)

    graph = wide.graph(width=40)
    monkeypatch.setattr(Node, "upstream", property(look))
    ended = run_graph(graph, settings=settings)
    assert ended.status == "done"
    assert len(looks) == 2 * 40, "once to record the edges, once to plan"
