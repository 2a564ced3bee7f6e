"""The local runner: a graph in this process, independent branches in parallel.

Resuming is running again: what is done is found by its key. This module plans and watches; how one
step is executed is :mod:`learnloop.step`'s business alone.
"""

from __future__ import annotations

import getpass
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from learnloop.artifacts import Artifact
from learnloop.component import load_object
from learnloop.errors import GateRefused, LearnLoopError, RunCancelled, UsageError
from learnloop.fingerprint import read_code
from learnloop.interruption import Cancellation, explain_interruptions, interrupt, time_limit
from learnloop.ledger import ArtifactRecord, Ledger, open_ledger
from learnloop.living import living_run
from learnloop.pipeline import Graph, Node, OutputReference, Pipeline
from learnloop.settings import Settings, load_settings, project_root
from learnloop.step import StepResult, StepSpec, execute_step
from learnloop.store import open_store

WATCH_SECONDS = 0.5
EXIT_CODES = {
    "done": 0,
    "refused": GateRefused.exit_code,
    "failed": LearnLoopError.exit_code,
    "cancelled": LearnLoopError.exit_code,
}


class Watcher(Protocol):
    """Is told how a run goes."""

    def run_started(self, run_id: str, graph: Graph) -> None:
        """The run is in the ledger."""

    def step_started(self, step: str) -> None:
        """A step begins."""

    def step_progressed(self, step: str, text: str, numbers: Mapping[str, float]) -> None:
        """A step tells how far it is."""

    def step_ended(self, step: str, status: str, seconds: float) -> None:
        """A step has ended, or was skipped."""


class NobodyWatches:
    """A watcher that ignores everything."""

    def run_started(self, run_id: str, graph: Graph) -> None:
        """See :class:`Watcher`."""

    def step_started(self, step: str) -> None:
        """See :class:`Watcher`."""

    def step_progressed(self, step: str, text: str, numbers: Mapping[str, float]) -> None:
        """See :class:`Watcher`."""

    def step_ended(self, step: str, status: str, seconds: float) -> None:
        """See :class:`Watcher`."""


@dataclass(frozen=True)
class RunOptions:
    """How to run.

    Args:
        force: Steps to execute whatever the cache holds.
        only: The one step to execute; what it needs is taken from the cache.
        use_cache: Whether any step may reuse earlier results.
        overrides: Reason by the name of a gate that is let pass though it refuses.
        cause: Why the run exists, in a few words.
        user: Who wants it.
        run_id: The run's id; a new one when empty.
    """

    force: tuple[str, ...] = ()
    only: str = ""
    use_cache: bool = True
    overrides: Mapping[str, str] = field(default_factory=dict)
    cause: str = "started by a person"
    user: str = field(default_factory=getpass.getuser)
    run_id: str = ""

    def choose(self, graph: Graph) -> Graph:
        """Check the names of steps, and keep the part of a graph that is to run.

        Args:
            graph: The whole pipeline.

        Returns:
            The graph, or what the one step that is wanted needs.

        Raises:
            UsageError: The graph has no step of a name.
        """
        for name in (*self.force, *self.overrides):
            graph.node(name)
        return graph.with_ancestors(graph.node(self.only).name) if self.only else graph


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Args:
        id: The run's id.
        graph: What was run.
        status: ``done``, ``refused``, ``failed`` or ``cancelled``.
        results: Result by step, for the steps that were done, cached or refused.
        error: What made the run fail.
        settings: Where things are.
    """

    id: str
    graph: Graph
    status: str
    results: Mapping[str, StepResult]
    error: LearnLoopError | None
    settings: Settings

    @property
    def exit_code(self) -> int:
        """What a command that ran it exits with: that of its error, else by its status."""
        return self.error.exit_code if self.error is not None else EXIT_CODES[self.status]

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """The artifacts, opened, by ``step.output`` and by ``output`` where that is clear.

        Where several steps write an output of one name, the plain name is the last one's.
        """
        store = open_store(self.settings.store_location, str(self.settings.home_folder))
        opened: dict[str, Artifact] = {}
        for step, result in self.results.items():
            for output, record in result.outputs.items():
                if record is not None:
                    artifact = load_object(record.type).open(store.fetch(record.uri))
                    opened[output] = opened[f"{step}.{output}"] = artifact
        return opened

    @property
    def report(self) -> Path:
        """The run's HTML page, written when it is first asked for."""
        from learnloop.report import write_report

        return write_report(self.id, self.settings)


def run_pipeline(
    pipeline: Pipeline[...],
    parameters: Mapping[str, Any],
    options: RunOptions | None = None,
    *,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Run a pipeline in this process.

    Args:
        pipeline: The pipeline.
        parameters: Its parameters; text is turned into their types.
        options: How to run.
        settings: Where things are; read from the environment and file when None.
        watcher: Is told how the run goes.

    Returns:
        The ended run; a refused gate and a failed step are told by its status.

    Raises:
        UsageError: A parameter, or the name of a step, is wrong; nothing has been run then.
    """
    graph = pipeline.graph(**pipeline.validate(parameters))
    return run_graph(graph, options, settings=settings, watcher=watcher)


def run_graph(
    graph: Graph,
    options: RunOptions | None = None,
    *,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> Run:
    """Run a graph in this process; see :func:`run_pipeline`."""
    settings = settings or load_settings()
    options = options or RunOptions()
    chosen = options.choose(graph)
    for node in chosen.nodes.values():
        read_code(node.component, node.arguments)
    return _LocalRun(chosen, options, settings, watcher or NobodyWatches()).run()


def new_run_id(pipeline: str) -> str:
    """Make a run id that sorts by time and that Airflow takes too."""
    return f"{pipeline}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


def git_commit() -> str:
    """The project's commit, with ``+`` behind it if files have changed; "" outside git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=project_root(), capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def record_run(
    ledger: Ledger,
    graph: Graph,
    run_id: str,
    *,
    runner: str,
    user: str,
    cause: str,
) -> None:
    """Put a run and its pending steps into the ledger; again for a run that is there already.

    Args:
        ledger: The ledger.
        graph: What is run.
        run_id: The run's id.
        runner: ``local`` or ``airflow``.
        user: Who wants it.
        cause: Why it exists.
    """
    ledger.start_run(
        run_id,
        graph.pipeline,
        graph.parameters,
        [(node.name, node.component.reference) for node in graph.nodes.values()],
        [(up, node.name) for node in graph.nodes.values() for up in node.upstream],
        runner=runner,
        user=user,
        git_commit=git_commit(),
        cause=cause,
    )


def plan_step(
    node: Node,
    run_id: str,
    pipeline: str,
    outputs: Callable[[OutputReference], ArtifactRecord | None],
    *,
    reuse: bool = True,
    override: Mapping[str, str] | None = None,
) -> StepSpec:
    """Write a node's specification once the steps before it have ended.

    Args:
        node: The node.
        run_id: The run.
        pipeline: The pipeline's name.
        outputs: Gives the artifact that a reference stands for in this run.
        reuse: Whether an earlier result may be reused.
        override: Who lets the step pass if it refuses, and why.
    """
    inputs: dict[str, tuple[ArtifactRecord, ...]] = dict.fromkeys(node.inputs, ())
    for name, reference in node.edges():
        record = outputs(reference)
        if record is not None:
            inputs[name] = (*inputs[name], record)
    return StepSpec(
        run_id=run_id,
        pipeline=pipeline,
        step=node.name,
        component=node.component.reference,
        parameters=node.parameters_json(),
        inputs=inputs,
        reuse=reuse,
        override=override,
    )


class _LocalRun:
    """The state of one local run, from its start to its end."""

    def __init__(
        self, graph: Graph, options: RunOptions, settings: Settings, watcher: Watcher
    ) -> None:
        self.graph = graph
        self.options = options
        self.settings = settings
        self.watcher = watcher
        self.run_id = options.run_id or new_run_id(graph.pipeline)
        self.ledger = open_ledger(settings.ledger_url)
        self.results: dict[str, StepResult] = {}
        self.statuses: dict[str, str] = {}
        self.error: LearnLoopError | None = None
        self.cancelled = False
        self.threads: dict[str, int] = {}

    def run(self) -> Run:
        with living_run(self.ledger, self.settings, self.run_id):
            record_run(
                self.ledger,
                self.graph,
                self.run_id,
                runner="local",
                user=self.options.user,
                cause=self.options.cause,
            )
            self.watcher.run_started(self.run_id, self.graph)
            status = "failed"
            try:
                self._run_steps()
                status = self._status()
            finally:
                self.ledger.end_run(self.run_id, status)
        return Run(self.run_id, self.graph, status, dict(self.results), self.error, self.settings)

    def _status(self) -> str:
        if self.cancelled:
            return "cancelled"
        if self.error is not None:
            return "failed"
        return "refused" if "refused" in self.statuses.values() else "done"

    def _run_steps(self) -> None:
        waiting = dict(self.graph.nodes)
        upstream = {node.name: node.upstream for node in waiting.values()}
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(self.settings.parallelism, "step") as pool:
            while waiting or running:
                for node in list(waiting.values()):
                    if len(running) == self.settings.parallelism:
                        break
                    before = [self.statuses.get(up) for up in upstream[node.name]]
                    if self.cancelled or any(s not in (None, "done", "cached") for s in before):
                        del waiting[node.name]
                        self._end_step(node.name, "skipped", 0.0)
                    elif None not in before:
                        del waiting[node.name]
                        running[pool.submit(self._run_step, node)] = node.name
                if running:
                    self._collect(running)

    def _collect(self, running: dict[Future[None], str]) -> None:
        try:
            done, _ = wait(running, timeout=WATCH_SECONDS, return_when=FIRST_COMPLETED)
            if not done and not self.cancelled and self.ledger.is_cancel_requested(self.run_id):
                self._cancel(running)
        except KeyboardInterrupt:
            self._cancel(running)
            done = set()
        for future in done:
            del running[future]
            error = future.exception()
            if isinstance(error, RunCancelled):
                self.cancelled = True
            elif isinstance(error, LearnLoopError):
                self.error = self.error or error
            elif error is not None:
                raise error

    def _cancel(self, running: Mapping[Future[None], str]) -> None:
        """Stop the steps that run; one in a library's native code ends when that returns."""
        self.cancelled = True
        for name in running.values():
            interrupt(self.threads.get(name, 0), Cancellation)

    def _end_step(self, name: str, status: str, seconds: float) -> None:
        self.statuses[name] = status
        self.watcher.step_ended(name, status, seconds)

    def _run_step(self, node: Node) -> None:
        self.threads[node.name] = threading.get_ident()
        self.watcher.step_started(node.name)
        began = time.perf_counter()
        status = "failed"
        try:
            with explain_interruptions():
                result = self._attempt(node)
            self.results[node.name] = result  # before the status, which lets the next steps begin
            status = result.status
        except RunCancelled:
            status = "cancelled"
            raise
        finally:
            self.threads[node.name] = 0
            self._end_step(node.name, status, time.perf_counter() - began)

    def _attempt(self, node: Node) -> StepResult:
        reason = self.options.overrides.get(node.name)
        spec = plan_step(
            node,
            self.run_id,
            self.graph.pipeline,
            lambda reference: self.results[reference.node].outputs[reference.output],
            reuse=self.options.use_cache and node.name not in self.options.force,
            override={"by": self.options.user, "reason": reason} if reason else None,
        )

        def report(text: str, /, **numbers: float) -> None:
            self.watcher.step_progressed(node.name, text, numbers)

        resources = node.resources
        for attempt in range(resources.retries + 1):
            try:
                with time_limit(resources.timeout_seconds):
                    return execute_step(spec, settings=self.settings, report=report)
            except (UsageError, RunCancelled):
                raise
            except LearnLoopError as fault:
                if attempt == resources.retries or self.cancelled:
                    raise
                report(f"attempt {attempt + 1} failed, trying again: {fault.what}")
                time.sleep(resources.retry_delay_seconds)
        raise AssertionError("unreachable: the last attempt returns or raises")
