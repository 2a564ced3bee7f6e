"""From the ledger and the artifacts to what the page of a run shows.

Small documents are read, tables never: a page shows counts and figures, not rows. What cannot be
read (collected since, or damaged) is noted on the page and hides nothing else.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from learnloop import artifacts
from learnloop.errors import LearnLoopError
from learnloop.ledger import ArtifactRecord, ExecutionRecord, Ledger, RunRecord, open_ledger
from learnloop.report.view import ArtifactView, Document, Named, RunView, StepView, TableView
from learnloop.settings import Settings
from learnloop.steplog import log_file
from learnloop.store import Store, open_store

LOG_LINES = 40


def collect_run(run_id: str, settings: Settings) -> RunView:
    """Gather what the page of a run shows.

    Args:
        run_id: The run's id, a beginning of it, or ``latest``.
        settings: Where ledger, store and logs are.

    Returns:
        The view.

    Raises:
        UsageError: There is no such run.
    """
    ledger = open_ledger(settings.ledger_url)
    run = ledger.run(run_id)
    executions = ledger.executions(run.id)
    made = {execution.id: ledger.outputs(execution.id) for execution in executions}
    reader = _Reader(open_store(settings.store_location, str(settings.home_folder)))
    outputs = [
        (execution.step, record) for execution in executions for record in made[execution.id]
    ]
    trained = [(step, record) for step, record in outputs if record.output != "champion"]
    return RunView(
        run=run,
        steps=tuple(
            _step(run, execution, made[execution.id], ledger, settings) for execution in executions
        ),
        examples=tuple(_tables(outputs, artifacts.Examples)),
        records=tuple(t for t in _tables(outputs, artifacts.Records) if t.name != "quarantine"),
        quarantine={
            table: dict(reasons)
            for _, record in outputs
            for table, reasons in record.metadata.get("reasons", {}).items()
        },
        validations=_holding(
            "checks", reader.documents(outputs, artifacts.ValidationReport, "document.json")
        ),
        trainings=reader.documents(trained, artifacts.Model, "training.json"),
        evaluations=_holding(
            "metrics", reader.documents(outputs, artifacts.Evaluation, "document.json")
        ),
        blessings=reader.documents(outputs, artifacts.Blessing, "document.json"),
        registered=reader.documents(outputs, artifacts.RegisteredModel, "document.json"),
        published=reader.documents(outputs, artifacts.PublishedModel, "document.json"),
        versions=_versions(executions),
        notes=tuple(reader.notes),
    )


_Outputs = Sequence[tuple[str, ArtifactRecord]]


class _Reader:
    """Reads small documents from the store, and notes what could not be read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.notes: list[str] = []

    def documents(
        self, outputs: _Outputs, kind: type[artifacts.Artifact], file: str
    ) -> tuple[Named, ...]:
        found = ((step, self._read(step, r, file)) for step, r in outputs if _is(r, kind))
        return tuple(Named(step, document) for step, document in found if document)

    def _read(self, step: str, record: ArtifactRecord, file: str) -> Document:
        try:
            document: Document = json.loads((self._store.fetch(record.uri) / file).read_text())
        except FileNotFoundError:
            return {}  # an author's own artifact need not hold this file
        except (LearnLoopError, OSError, ValueError) as fault:
            what = fault.what if isinstance(fault, LearnLoopError) else type(fault).__name__
            self.notes.append(f"{record.output} of {step} cannot be read: {what}")
            return {}
        return document


def _holding(part: str, documents: tuple[Named, ...]) -> tuple[Named, ...]:
    """Leave out documents of an author's own shape, which the page would not know to show."""
    return tuple(named for named in documents if part in named.document)


def _is(record: ArtifactRecord, kind: type[artifacts.Artifact]) -> bool:
    return record.type == kind.reference()


def _tables(outputs: _Outputs, kind: type[artifacts.Artifact]) -> Iterator[TableView]:
    """Count rows by table; what only changed columns, and so has the same counts, says no more."""
    seen: list[Mapping[str, int]] = []
    for step, record in outputs:
        counts = record.metadata.get("rows", {})
        if _is(record, kind) and counts not in seen:
            seen.append(counts)
            yield TableView(step, record.output, counts)


def _step(
    run: RunRecord,
    execution: ExecutionRecord,
    outputs: Sequence[ArtifactRecord],
    ledger: Ledger,
    settings: Settings,
) -> StepView:
    went_wrong = execution.status in ("failed", "refused")
    starts = execution.key and execution.started
    return StepView(
        name=execution.step,
        component=execution.component,
        status=execution.status,
        starts=max((starts - run.started).total_seconds(), 0.0) if starts else None,
        seconds=execution.seconds,
        attempt=execution.attempt,
        reasons=execution.reasons,
        override=execution.override,
        key=execution.key or "",
        inputs=tuple(_artifact(name, record) for name, record in ledger.inputs(execution.id)),
        outputs=tuple(_artifact(record.output, record) for record in outputs),
        log_tail=_tail(settings, run.id, execution.step) if went_wrong else (),
    )


def _artifact(name: str, record: ArtifactRecord) -> ArtifactView:
    kind = record.type.rpartition(":")[2]
    return ArtifactView(name, kind, record.uri, record.content_digest)


def _tail(settings: Settings, run_id: str, step: str) -> tuple[str, ...]:
    try:
        with log_file(settings, run_id, step).open(encoding="utf-8", errors="replace") as file:
            return tuple(line.rstrip("\n") for line in deque(file, maxlen=LOG_LINES))
    except OSError:
        return ()  # a step that ran on another machine keeps its log there


def _versions(executions: Sequence[ExecutionRecord]) -> dict[str, str]:
    prefix = "library "
    found = {
        name.removeprefix(prefix): version
        for execution in executions
        for name, version in (execution.parts or {}).items()
        if name.startswith(prefix)
    }
    return dict(sorted(found.items()))
