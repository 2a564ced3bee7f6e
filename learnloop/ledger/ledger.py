"""The ledger's questions and answers; see :mod:`learnloop.ledger` for what it is."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from learnloop.errors import LearnLoopError, UsageError, closest
from learnloop.ledger.connecting import connect_patiently, explain_faults
from learnloop.ledger.forgetting import forget
from learnloop.ledger.records import ArtifactRecord, ExecutionRecord, RunRecord
from learnloop.ledger.rows import (
    add_attempt,
    add_links,
    died,
    insert_missing,
    now,
    read_artifact,
    read_execution,
    read_run,
)
from learnloop.ledger.statements import (
    ADD_ARTIFACTS,
    CHANGE_EXECUTION,
    IS_CANCEL_REQUESTED,
    REUSABLE,
    USED,
)
from learnloop.ledger.tables import artifacts, executions, runs


class Ledger:
    """The record of runs. Open it with :func:`open_ledger`.

    Args:
        engine: A database whose schema is current.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # SQLite has one writer; threads of one process wait here rather than in its busy loop.
        self._writing = threading.Lock()

    @property
    def location(self) -> str:
        """The database's URL, without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    # Runs

    def start_run(
        self,
        run_id: str,
        pipeline: str,
        parameters: Mapping[str, Any],
        steps: Sequence[tuple[str, str]],
        edges: Sequence[tuple[str, str]],
        *,
        runner: str,
        user: str,
        git_commit: str,
        cause: str,
    ) -> None:
        """Record a run and its pending steps. A run that is recorded already is set running again.

        Args:
            run_id: The run's id.
            pipeline: The pipeline's name.
            parameters: The pipeline's parameters.
            steps: Name and component reference of every node, in order.
            edges: Pairs of step names.
            runner: ``local`` or ``airflow``.
            user: Who started it.
            git_commit: The project's commit.
            cause: Why it exists.
        """
        row = {
            "id": run_id,
            "pipeline": pipeline,
            "parameters": dict(parameters),
            "edges": [list(edge) for edge in edges],
            "runner": runner,
            "status": "running",
            "started": now(),
            "host": socket.gethostname(),
            "user": user,
            "git_commit": git_commit,
            "cause": cause,
            "cancel_requested": False,
        }
        rows = [
            {
                "id": str(uuid.uuid4()),
                "run_id": run_id,
                "step": step,
                "position": position,
                "component": component,
                "attempt": 1,
                "status": "pending",
                "reasons": [],
            }
            for position, (step, component) in enumerate(steps)
        ]
        with self.transaction() as connection:
            added = connection.execute(insert_missing(connection, runs).values(row)).rowcount
            if added:
                connection.execute(sa.insert(executions), rows)
            else:
                again = sa.update(runs).where(runs.c.id == run_id, runs.c.status != "running")
                connection.execute(
                    again.values(status="running", ended=None, cancel_requested=False)
                )

    def end_run(self, run_id: str, status: str) -> None:
        """Record how a run ended; steps that never began become skipped or cancelled.

        Args:
            run_id: The run.
            status: One of ``done refused failed cancelled``.
        """
        rest = "cancelled" if status == "cancelled" else "skipped"
        with self.transaction() as connection:
            connection.execute(
                sa.update(executions)
                .where(executions.c.run_id == run_id)
                .where(executions.c.status.in_(("pending", "running")))
                .values(status=rest, ended=now())
            )
            connection.execute(
                sa.update(runs).where(runs.c.id == run_id).values(status=status, ended=now())
            )

    def abandon_run(self, run_id: str) -> None:
        """Record that a run's process has died: what it was at has failed.

        Args:
            run_id: The run.
        """
        with self.transaction() as connection:
            connection.execute(
                sa.update(executions)
                .where(executions.c.run_id == run_id, executions.c.status == "running")
                .values(died())
            )
        self.end_run(run_id, "failed")

    def running(self, host: str) -> list[RunRecord]:
        """List the runs that are on record as running on a machine.

        Args:
            host: The machine's name.
        """
        query = sa.select(runs).where(runs.c.status == "running", runs.c.host == host)
        with self.reading() as connection:
            return [read_run(row) for row in connection.execute(query)]

    def request_cancel(self, run_id: str) -> None:
        """Ask a run to stop; it does so at its next step or progress report.

        Args:
            run_id: The run.

        Raises:
            UsageError: There is no such run, or it has ended.
        """
        run = self.run(run_id)
        if run.status != "running":
            raise UsageError(f"Run {run.id} is not running.", received=f"status '{run.status}'")
        with self.transaction() as connection:
            chosen = sa.update(runs).where(runs.c.id == run.id)
            connection.execute(chosen.values(cancel_requested=True))

    def is_cancel_requested(self, run_id: str) -> bool:
        """Tell whether somebody asked a run to stop.

        A database that does not answer asks for nothing: hours of training do not end because it
        was away for a moment.
        """
        with suppress(LearnLoopError), self.reading() as connection:
            return bool(connection.execute(IS_CANCEL_REQUESTED, {"run_id": run_id}).scalar())
        return False

    def run(self, run_id: str) -> RunRecord:
        """Look up a run by its id, or by a beginning of it that is unique, or ``latest``.

        Args:
            run_id: The id, its beginning, or ``latest``.

        Raises:
            UsageError: There is no such run, or more than one.
        """
        newest = sa.select(runs).order_by(runs.c.started.desc())
        with self.reading() as connection:
            if run_id == "latest":
                rows = connection.execute(newest.limit(1)).all()
            else:
                rows = connection.execute(newest.where(runs.c.id == run_id)).all()
                if not rows:
                    query = newest.where(runs.c.id.startswith(run_id, autoescape=True)).limit(2)
                    rows = connection.execute(query).all()
            if len(rows) == 1:
                return read_run(rows[0])
            known = connection.execute(newest.limit(50)).all()
        raise UsageError(
            f"There is no run '{run_id}'." if not rows else f"Several runs begin with '{run_id}'.",
            expected=closest(run_id, [row.id for row in known]),
            received=repr(run_id),
            next="learnloop runs",
        )

    def runs(self, pipeline: str | None = None, limit: int = 20) -> list[RunRecord]:
        """List runs, newest first.

        Args:
            pipeline: Only those of this pipeline.
            limit: The most rows.
        """
        query = sa.select(runs).order_by(runs.c.started.desc()).limit(limit)
        if pipeline:
            query = query.where(runs.c.pipeline == pipeline)
        with self.reading() as connection:
            return [read_run(row) for row in connection.execute(query)]

    # Executions

    def executions(self, run_id: str) -> list[ExecutionRecord]:
        """List a run's steps, in the graph's order, each by its newest attempt.

        Args:
            run_id: The run's whole id.
        """
        query = sa.select(executions).where(executions.c.run_id == run_id)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(executions.c.position, executions.c.attempt))
            newest = {row.step: read_execution(row) for row in rows}
        return list(newest.values())

    def begin(
        self, run_id: str, step: str, key: str | None, parts: Mapping[str, str] | None
    ) -> str:
        """Record that a step has begun; after an attempt that ended, a new one is recorded.

        Args:
            run_id: The run.
            step: The node's name.
            key: Its cache key; None if it failed before it had one.
            parts: What the key was made of.

        Returns:
            The execution's id.
        """
        values: dict[str, Any] = {"status": "running", "key": key, "started": now()}
        if parts is not None:
            values["parts"] = dict(parts)
        with self.transaction() as connection:
            return add_attempt(connection, run_id, step, values)

    def reuse(
        self,
        run_id: str,
        step: str,
        key: str,
        parts: Mapping[str, str],
        *,
        earlier: str,
        inputs: Mapping[str, Sequence[str]],
        outputs: Sequence[ArtifactRecord],
        started: datetime,
    ) -> None:
        """Record, in one transaction, that a step took over what an earlier execution made.

        Args:
            run_id: The run.
            step: The node's name.
            key: Its cache key.
            parts: What the key was made of.
            earlier: The execution whose outputs these are.
            inputs: Artifact ids by input name.
            outputs: The artifacts.
            started: When the step began.

        Raises:
            CorruptArtifact: The earlier execution is no longer on record.
        """
        values = {
            "status": "cached",
            "key": key,
            "parts": dict(parts),
            "reused": earlier,
            "started": started,
            "ended": now(),
        }
        with self.transaction() as connection:
            execution_id = add_attempt(connection, run_id, step, values)
            add_links(connection, execution_id, inputs, outputs)

    def fail_pending(self, run_id: str, step: str, reason: str) -> None:
        """Record that a step failed before it could begin.

        Args:
            run_id: The run.
            step: The node's name.
            reason: Why.
        """
        chosen = sa.update(executions).where(executions.c.run_id == run_id)
        chosen = chosen.where(executions.c.step == step, executions.c.status == "pending")
        with self.transaction() as connection:
            connection.execute(chosen.values(status="failed", ended=now(), reasons=[reason]))

    def finish(
        self,
        execution_id: str,
        status: str,
        *,
        inputs: Mapping[str, Sequence[str]] = {},
        outputs: Sequence[ArtifactRecord] = (),
        reasons: Sequence[str] = (),
        override: Mapping[str, str] | None = None,
        location: str | None = None,
        manifest_digest: str | None = None,
    ) -> None:
        """Record how a step ended, with what it read and made.

        Args:
            execution_id: The execution.
            status: How it ended.
            inputs: Artifact ids by input name.
            outputs: The artifacts it made.
            reasons: Why it was refused or failed.
            override: Who let a refused gate pass, and why.
            location: Where the outputs are in the store.
            manifest_digest: Stands for their bytes.
        """
        values = {
            "status": status,
            "ended": now(),
            "reasons": list(reasons),
            "override": dict(override) if override else None,
            "location": location,
            "manifest_digest": manifest_digest,
        }
        with self.transaction() as connection:
            if outputs:
                rows = [{**record.to_json(), "execution_id": execution_id} for record in outputs]
                connection.execute(ADD_ARTIFACTS, rows)
            add_links(connection, execution_id, inputs, outputs)
            connection.execute(CHANGE_EXECUTION, {"chosen": execution_id, **values})

    def reusable(self, key: str) -> list[ExecutionRecord]:
        """Find executions whose outputs a step with this key may reuse, newest first.

        Args:
            key: The cache key.

        Returns:
            Executions that are ``done`` by their own work, with no gate overridden.
        """
        with self.reading() as connection:
            found = [read_execution(row) for row in connection.execute(REUSABLE, {"key": key})]
        return [execution for execution in found if execution.override is None]

    def previous(self, execution: ExecutionRecord) -> ExecutionRecord | None:
        """Find the same step's execution before this one, in any run of the pipeline.

        Args:
            execution: The one to compare with.
        """
        this = sa.select(runs.c.pipeline).where(runs.c.id == execution.run_id).scalar_subquery()
        query = (
            sa.select(executions)
            .join(runs)
            .where(runs.c.pipeline == this, executions.c.step == execution.step)
            .where(executions.c.parts.is_not(None), executions.c.id != execution.id)
            .where(executions.c.started < execution.started)
            .order_by(executions.c.started.desc())
            .limit(1)
        )
        with self.reading() as connection:
            row = connection.execute(query).first()
        return read_execution(row) if row else None

    def execution_ids(self) -> set[str]:
        """The ids of all executions on record."""
        with self.reading() as connection:
            return set(connection.execute(sa.select(executions.c.id)).scalars())

    # Artifacts and lineage

    def outputs(self, execution_id: str) -> list[ArtifactRecord]:
        """List what a step gave, its own or reused.

        Args:
            execution_id: The execution.
        """
        return [record for _, record in self._used(execution_id, "out")]

    def inputs(self, execution_id: str) -> list[tuple[str, ArtifactRecord]]:
        """List what a step read.

        Args:
            execution_id: The execution.

        Returns:
            Input name and artifact.
        """
        return self._used(execution_id, "in")

    def producer(self, artifact_id: str) -> ExecutionRecord:
        """Find the execution that made an artifact.

        Args:
            artifact_id: The artifact.
        """
        query = sa.select(executions).join(artifacts).where(artifacts.c.id == artifact_id)
        with self.reading() as connection:
            return read_execution(connection.execute(query).one())

    def find_artifacts(self, beginning: str) -> list[ArtifactRecord]:
        """Find artifacts by the beginning of their id or content digest, or by their whole URI.

        Args:
            beginning: What a person typed.
        """
        query = sa.select(artifacts).where(
            artifacts.c.id.startswith(beginning, autoescape=True)
            | artifacts.c.content_digest.startswith(beginning, autoescape=True)
            | (artifacts.c.uri == beginning)
        )
        with self.reading() as connection:
            return [read_artifact(row) for row in connection.execute(query.limit(50))]

    def forget(
        self, keep: Callable[[RunRecord], bool], *, dry_run: bool = False
    ) -> tuple[list[str], set[str]]:
        """Drop ended runs that nobody keeps and no kept run draws on, near or far.

        Args:
            keep: Judges a run.
            dry_run: Whether to change nothing.

        Returns:
            The runs that were, or would be, dropped, and the ids of the executions whose files are
            needed: those that published some, and those that are about to.
        """
        with self.transaction() as connection:
            return forget(connection, keep, dry_run=dry_run)

    def _used(self, execution_id: str, direction: str) -> list[tuple[str, ArtifactRecord]]:
        chosen = {"execution_id": execution_id, "direction": direction}
        with self.reading() as connection:
            return [(row.name, read_artifact(row)) for row in connection.execute(USED, chosen)]

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Connect to read; for whoever keeps tables of their own in the ledger.

        Raises:
            LearnLoopError: The database does not do as asked.
        """
        with explain_faults(self.location), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Connect to write, all or nothing; for whoever keeps tables of their own in the ledger.

        Raises:
            LearnLoopError: The database does not do as asked.
        """
        with (
            explain_faults(self.location),
            self._writing,
            connect_patiently(self._engine) as connection,
            connection.begin(),
        ):
            if connection.dialect.name == "sqlite":
                # Python's driver would begin at the first write, after what was read before it.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
