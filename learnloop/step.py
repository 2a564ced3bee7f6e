"""Executing one step from a JSON specification: the only way any runner does it.

A step looks for a finished execution with the same cache key and verified bytes; where there is
none, it calls the component's function with its inputs opened and its outputs private, and
publishes what was made. Whatever happens is in the ledger and in the step's log before this
returns. The specification is JSON, so that the orchestrator and the step may live in two
environments, or on two machines.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from learnloop.artifacts import Artifact
from learnloop.component import Component, Context, Json, Report, load_object
from learnloop.discovery import make_importable
from learnloop.errors import CorruptArtifact, GateRefused, LearnLoopError, RunCancelled, UsageError
from learnloop.fingerprint import Fingerprint, fingerprint_step
from learnloop.holding import hold
from learnloop.interruption import Interruption
from learnloop.ledger import ArtifactRecord, ExecutionRecord, Ledger, open_ledger
from learnloop.settings import Settings, load_settings
from learnloop.steplog import step_log
from learnloop.store import Store, open_store
from learnloop.store.local import disk_fault, explain_disk_faults

SPEC_FORMAT = 1
CANCEL_CHECK_SECONDS = 1.0

logger = logging.getLogger(__name__)

Inputs = Mapping[str, tuple[ArtifactRecord, ...]]


@dataclass(frozen=True)
class StepSpec:
    """What to execute.

    Args:
        run_id: The run, which the ledger knows.
        pipeline: The pipeline's name.
        step: The node's name.
        component: ``module:function``.
        parameters: The parameters, as JSON holds them.
        inputs: Artifacts by input name; none for an absent optional one.
        reuse: Whether a finished execution with the same key may be reused.
        override: Who lets this step pass if it refuses (``by``) and why (``reason``).
    """

    run_id: str
    pipeline: str
    step: str
    component: str
    parameters: Mapping[str, Json]
    inputs: Inputs
    reuse: bool = True
    override: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Json]:
        """The specification as JSON holds it."""
        inputs = {name: [one.to_json() for one in given] for name, given in self.inputs.items()}
        return {**vars(self), "inputs": inputs, "format": SPEC_FORMAT}

    @classmethod
    def from_json(cls, document: Mapping[str, Json]) -> StepSpec:
        """Read a specification.

        Args:
            document: What :meth:`to_json` gave.

        Raises:
            UsageError: It has another format.
        """
        values = dict(document)
        if values.pop("format", None) != SPEC_FORMAT:
            raise UsageError(
                "A step's specification has another format.",
                expected=f"format {SPEC_FORMAT}",
                received=document.get("format"),
                next="use the same LearnLoop where steps are planned and where they run",
            )
        values["inputs"] = {
            name: tuple(ArtifactRecord(**one) for one in given)
            for name, given in values["inputs"].items()
        }
        return cls(**values)


@dataclass(frozen=True)
class StepResult:
    """How a step ended.

    Args:
        step: The node's name.
        status: ``done``, ``cached`` or ``refused`` (a failed step raises).
        outputs: The artifacts by output name; None for an optional output left empty.
        key: The cache key.
        seconds: How long it took, the cache's work included.
        reasons: Why the gate refused; also those of a refusal that was overridden.
        is_overridden: Whether a person let the refusal pass.
    """

    step: str
    status: str
    outputs: Mapping[str, ArtifactRecord | None]
    key: str
    seconds: float
    reasons: tuple[str, ...] = ()
    is_overridden: bool = False

    def to_json(self) -> dict[str, Json]:
        """The result as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Json]) -> StepResult:
        """Read what :meth:`to_json` gave."""
        outputs = {n: ArtifactRecord(**o) if o else None for n, o in document["outputs"].items()}
        reasons = tuple(document["reasons"])
        return cls(**{**document, "outputs": outputs, "reasons": reasons})


def execute_step(
    spec: StepSpec, *, settings: Settings | None = None, report: Report | None = None
) -> StepResult:
    """Execute one step, or reuse what an equal one made.

    Args:
        spec: What to execute.
        settings: Where things are; read from the environment and file when None.
        report: Takes the step's progress.

    Returns:
        How it ended.

    Raises:
        LearnLoopError: The step failed; the ledger and the step's log say why.
    """
    settings = settings or load_settings()
    make_importable()
    execution = _Execution(
        spec=spec,
        settings=settings,
        ledger=open_ledger(settings.ledger_url),
        store=open_store(settings.store_location, str(settings.home_folder)),
        component=_load_component(spec.component),
        report=report or _ignore,
    )
    with step_log(settings, spec.run_id, spec.step):
        return execution.run()


def _ignore(text: str, /, **numbers: float) -> None:
    """Take progress nobody watches."""


def _load_component(reference: str) -> Component[...]:
    component = load_object(reference)
    if not isinstance(component, Component):
        raise UsageError(
            f"'{reference}' is not a component.", expected="a function decorated with @component"
        )
    return component


@dataclass
class _Execution:
    """One attempt at a step; lives as long as :func:`execute_step`."""

    spec: StepSpec
    settings: Settings
    ledger: Ledger
    store: Store
    component: Component[...]
    report: Report
    id: str = ""
    """The execution's id in the ledger, once it has begun."""
    _last_check: float = field(default=0.0)

    def run(self) -> StepResult:
        began = time.perf_counter()
        try:
            arguments = {
                name: parameter.validate(self.spec.parameters[name], f"step '{self.spec.step}'")
                for name, parameter in self.component.parameters.items()
            }
            fingerprint = self._fingerprint(arguments)
            result = self._reuse(fingerprint) if self.spec.reuse else None
            if result is None:
                self.id = self._begin(fingerprint.key, fingerprint.parts)
                result = self._make(fingerprint, arguments)
        except BaseException as fault:
            raise self._record_failure(fault) from fault
        return replace(result, seconds=time.perf_counter() - began)

    def _begin(self, key: str | None, parts: Mapping[str, str] | None) -> str:
        return self.ledger.begin(self.spec.run_id, self.spec.step, key, parts)

    def _fingerprint(self, arguments: Mapping[str, Any]) -> Fingerprint:
        inputs = {
            name: " ".join(record.content_digest for record in given) or "absent"
            for name, given in self.spec.inputs.items()
        }
        resolve = self.component.resolve
        resolved = resolve({**arguments, **inputs}, self.settings) if resolve else {}
        return fingerprint_step(self.component, arguments, inputs, resolved)

    def _reuse(self, fingerprint: Fingerprint) -> StepResult | None:
        started = datetime.now(UTC)
        for earlier in self.ledger.reusable(fingerprint.key):
            records = self.ledger.outputs(earlier.id)
            stale = self._why_stale(earlier, records)
            if stale:
                logger.warning("An earlier result is not reused: %s", stale)
                continue
            try:
                self.ledger.reuse(
                    self.spec.run_id,
                    self.spec.step,
                    fingerprint.key,
                    fingerprint.parts,
                    earlier=earlier.id,
                    inputs=self._input_ids(),
                    outputs=records,
                    started=started,
                )
            except CorruptArtifact as fault:
                logger.warning("An earlier result is not reused: %s", fault)
                continue
            return self._result("cached", records, fingerprint)
        return None

    def _why_stale(self, earlier: ExecutionRecord, records: list[ArtifactRecord]) -> str:
        """Verify bytes and outside effects of an earlier execution; "" if they hold."""
        location = earlier.location or ""
        given = {record.output for record in records}
        for name, port in self.component.outputs.items():
            if not port.optional and name not in given:
                return f"Its output '{name}' is no longer on record."
        for record in records:
            if record.uri != self.store.uri(location, record.output):
                return f"It lies in another store: {record.uri}"
        try:
            self.store.verify(location, earlier.manifest_digest or "")
            if self.component.check_target is None:
                return ""
            outputs = {record.output: self._open(record) for record in records}
            return self.component.check_target(outputs, self.settings)
        except CorruptArtifact as fault:
            return str(fault)

    def _make(self, fingerprint: Fingerprint, arguments: Mapping[str, Any]) -> StepResult:
        location = f"{self.spec.pipeline}/{self.spec.step}/{self.id}"
        staged = self.store.stage(location)
        with hold(staged), self._context(fingerprint.key) as context:
            try:
                outputs = {
                    name: port.type.create(staged / name)
                    for name, port in self.component.outputs.items()
                }
                reasons = self._call({**outputs, **arguments, **context})
                records = self._describe(outputs, location, complete=not reasons)
                manifest = self.store.publish(location, staged)
            except BaseException:
                self.store.discard(staged)
                raise
            override = self.spec.override if reasons else None
            status = "refused" if reasons and not override else "done"
            self.ledger.finish(
                self.id,
                status,
                inputs=self._input_ids(),
                outputs=records,
                reasons=reasons,
                override=override,
                location=location,
                manifest_digest=manifest.digest(),
            )
        return self._result(status, records, fingerprint, reasons)

    @contextlib.contextmanager
    def _context(self, key: str) -> Iterator[dict[str, Context]]:
        """The argument ``context`` of a component that takes one, with its scratch folder."""
        if not self.component.takes_context:
            yield {}
            return
        digests = {
            name: given[0].content_digest for name, given in self.spec.inputs.items() if given
        }
        with _scratch(self.settings, key) as scratch:
            context = Context(
                run_id=self.spec.run_id,
                pipeline=self.spec.pipeline,
                step=self.spec.step,
                key=key,
                scratch=scratch,
                settings=self.settings,
                report=self._report,
                lineage=digests,
            )
            yield {"context": context}

    def _call(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Call the function; give the reasons if it refused."""
        inputs = {name: self._open_input(name) for name in self.component.inputs}
        try:
            self.component.function(**inputs, **arguments)
        except GateRefused as refusal:
            logger.warning("%s", refusal)
            return refusal.reasons
        return ()

    def _open_input(self, name: str) -> Any:
        given = [self._open(record) for record in self.spec.inputs.get(name, ())]
        if self.component.inputs[name].many:
            return given
        return given[0] if given else None

    def _open(self, record: ArtifactRecord) -> Artifact:
        kind = load_object(record.type)
        artifact: Artifact = kind.open(self.store.fetch(record.uri))
        return artifact

    def _describe(
        self, outputs: Mapping[str, Artifact], location: str, *, complete: bool
    ) -> list[ArtifactRecord]:
        """Digest the outputs and drop those left empty."""
        records = []
        for name, artifact in outputs.items():
            if artifact.is_empty():
                if complete and not self.component.outputs[name].optional:
                    raise LearnLoopError(
                        f"Step '{self.spec.step}' left its output '{name}' empty.",
                        where=self.spec.component,
                        next=f"write to '{name}', or declare it Output[…] | None",
                    )
                shutil.rmtree(artifact.path)
                continue
            records.append(
                ArtifactRecord(
                    id=str(uuid.uuid4()),
                    output=name,
                    type=artifact.reference(),
                    uri=self.store.uri(location, name),
                    content_digest=artifact.content_digest(),
                    metadata=artifact.metadata,
                )
            )
        return records

    def _result(
        self,
        status: str,
        records: list[ArtifactRecord],
        fingerprint: Fingerprint,
        reasons: tuple[str, ...] = (),
    ) -> StepResult:
        outputs: dict[str, ArtifactRecord | None] = dict.fromkeys(self.component.outputs)
        outputs.update({record.output: record for record in records})
        overridden = bool(reasons) and status == "done"
        return StepResult(
            self.spec.step, status, outputs, fingerprint.key, 0.0, reasons, overridden
        )

    def _input_ids(self) -> dict[str, list[str]]:
        return {name: [one.id for one in given] for name, given in self.spec.inputs.items()}

    def _report(self, text: str, /, **numbers: float) -> None:
        now = time.monotonic()
        if now - self._last_check > CANCEL_CHECK_SECONDS:
            self._last_check = now
            if self.ledger.is_cancel_requested(self.spec.run_id):
                raise RunCancelled("The run was cancelled.", where=self.spec.run_id)
        logger.info("%s %s", text, " ".join(f"{name}={n:g}" for name, n in numbers.items()))
        self.report(text, **numbers)

    def _record_failure(self, fault: BaseException) -> BaseException:
        """Write down why the attempt ended; give the error to raise."""
        error = _explain(fault, self.spec)
        cancelled = isinstance(error, (RunCancelled, KeyboardInterrupt))
        if not cancelled:
            logger.error("%s", "".join(traceback.format_exception(fault)).rstrip())
        with contextlib.suppress(LearnLoopError):  # the database itself may be what failed
            status = "cancelled" if cancelled else "failed"
            execution_id = self.id or self._begin(None, None)
            self.ledger.finish(execution_id, status, reasons=[str(error)])
        return error


def _explain(fault: BaseException, spec: StepSpec) -> BaseException:
    if isinstance(fault, Interruption):
        return fault.error
    if isinstance(fault, LearnLoopError) or not isinstance(fault, Exception):
        return fault
    if isinstance(fault, OSError) and fault.errno:
        return disk_fault(fault, f"step '{spec.step}'")
    if "No space left on device" in str(fault):
        return LearnLoopError("The disk is full.", where=f"step '{spec.step}'", next="learnloop gc")
    return LearnLoopError(
        f"Step '{spec.step}' failed: {type(fault).__name__}: {fault}",
        where=spec.component,
        next=f"learnloop logs {spec.run_id} {spec.step}",
    )


@contextlib.contextmanager
def _scratch(settings: Settings, key: str) -> Iterator[Path]:
    """Lend the key's scratch folder; it goes once the step's result is safe, and stays otherwise.

    Two runs may execute the same key at once: the second gets a folder of its own.
    """
    folder = settings.home_folder / "scratch" / key
    with contextlib.ExitStack() as stack:
        with explain_disk_faults(folder):
            if not stack.enter_context(hold(folder)):
                folder = folder.with_name(f"{key}-{uuid.uuid4().hex[:8]}")
                stack.enter_context(hold(folder))
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
