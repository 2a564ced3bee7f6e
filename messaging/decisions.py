"""Deciding, and keeping what was decided: one transaction of the ledger for a batch of messages.

What is already known is looked up, the rest put into bursts, each burst joined to a decision that
is still under way or judged by the policy, and all of it written before anybody acts on it. A
listener that dies at any point finds its decision when the messages come again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from learnloop.errors import UsageError
from learnloop.ledger import Ledger
from learnloop.ledger.connecting import chunks
from learnloop.ledger.rows import insert_missing
from learnloop.ledger.tables import retrain_decisions, retrain_messages, runs
from messaging.coalescing import Burst, coalesce, key_of
from messaging.messages import RetrainRequest
from messaging.policy import Estimate, Facts, Verdict, judge
from messaging.policy.settings import Policies
from messaging.records import Decision, Message, State, aware, message_row

RUN_PREFIX = "retrain-"
_LOCK = 7_201_935

_STATES = {Verdict.run: State.approved, Verdict.wait: State.waiting, Verdict.refuse: State.refused}
_COUNTED = ("running", "done", "refused")
"""Runs of these statuses have looked at the data; one that failed may be tried again at once."""


@dataclass(frozen=True)
class Decisions:
    """The ledger's account of requests to retrain.

    Args:
        ledger: The ledger.
        policies: Judge bursts.
    """

    ledger: Ledger
    policies: Policies

    def decide(self, requests: Sequence[RetrainRequest], now: datetime) -> dict[str, Decision]:
        """Decide about a batch of messages, once and for all their deliveries.

        Args:
            requests: Each message id once.
            now: The moment.

        Returns:
            The decision by message id; it is on record.

        Raises:
            LearnLoopError: The ledger does not do as asked; nothing was decided.
        """
        with self.ledger.transaction() as connection:
            if connection.dialect.name == "postgresql":
                # Two listeners, were there ever two, decide one after the other.
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            decided = _known(connection, [one.message_id for one in requests])
            new = [one for one in requests if one.message_id not in decided]
            for burst in coalesce(new):
                decision = self._join_or_make(connection, burst, now)
                decided.update((one.message_id, decision) for one in burst.requests)
            _insert(connection, new, decided, now)
            for one in {d.id: d for d in decided.values() if d.state is State.waiting}.values():
                again = self._judge_again(connection, one, now)
                decided.update((name, again) for name, d in decided.items() if d.id == one.id)
        return decided

    def answer(self, decision: Decision, state: State, now: datetime, why: str = "") -> Decision:
        """Record what the target, or the dead-letter queue, said.

        Args:
            decision: The decision.
            state: ``started`` or ``dead_lettered``.
            now: The moment.
            why: A sentence in place of the verdict's.
        """
        after = replace(decision, state=state, answered=now, sentence=why or decision.sentence)
        with self.ledger.transaction() as connection:
            connection.execute(_change(after))
        return after

    def record_poison(self, faults: Mapping[str, str], now: datetime) -> None:
        """Record messages that are no requests.

        Args:
            faults: What is wrong, by the id that each was given.
            now: The moment.
        """
        rows = [
            {"id": name, "received": now, "fault": fault} for name, fault in sorted(faults.items())
        ]
        with self.ledger.transaction() as connection:
            connection.execute(insert_missing(connection, retrain_messages), rows)

    def check(self) -> None:
        """Ask the ledger anything.

        Raises:
            LearnLoopError: It does not answer.
        """
        with self.ledger.reading() as connection:
            connection.execute(sa.select(1))

    # Looking back

    def newest(self, pipeline: str = "", limit: int = 20) -> list[tuple[Decision, int]]:
        """List decisions, newest first, each with the number of its messages.

        Args:
            pipeline: Only those of this pipeline.
            limit: The most.
        """
        counted = (
            sa.select(sa.func.count())
            .where(retrain_messages.c.decision_id == retrain_decisions.c.id)
            .scalar_subquery()
        )
        query = sa.select(retrain_decisions, counted.label("messages"))
        query = query.order_by(retrain_decisions.c.decided.desc(), retrain_decisions.c.id)
        if pipeline:
            query = query.where(retrain_decisions.c.pipeline == pipeline)
        with self.ledger.reading() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return [(Decision.from_row(row), row.messages) for row in rows]

    def messages(self, decision: str) -> list[Message]:
        """List a decision's messages, in the order in which they came.

        Args:
            decision: Its id.
        """
        with self.ledger.reading() as connection:
            return _members(connection, decision)

    def every_message(self) -> Iterator[Message]:
        """Go through all messages on record."""
        query = _joined().order_by(retrain_messages.c.received, retrain_messages.c.id)
        with self.ledger.reading() as connection:
            for row in connection.execute(query):
                yield _read_message(row)

    def find(self, name: str) -> Message:
        """Look up a message by its id, a beginning of it, or the id of the run that it led to.

        Args:
            name: What a person typed; of a run, the leader is found.

        Raises:
            UsageError: There is none, or more than one.
        """
        wanted = name.rpartition("~")[2].removeprefix(RUN_PREFIX)
        query = _joined().where(retrain_messages.c.id.startswith(wanted, autoescape=True))
        with self.ledger.reading() as connection:
            rows = connection.execute(query.limit(2)).all() if wanted else []
        if len(rows) == 1:
            return _read_message(rows[0])
        raise UsageError(
            f"Several messages begin with '{name}'." if rows else f"There is no message '{name}'.",
            expected="the id of a message, a beginning of it, or the id of a run",
            received=repr(name),
            next="learnloop retrain decisions",
        )

    # Inside the transaction

    def _join_or_make(self, connection: sa.Connection, burst: Burst, now: datetime) -> Decision:
        policy = self.policies.of(burst.leader.pipeline)
        table = retrain_decisions.c
        recent = now - timedelta(seconds=policy.burst_seconds)
        is_under_way: sa.ColumnElement[bool] = table.state.in_(
            [str(State.waiting), str(State.approved)]
        ) | ((table.state == str(State.started)) & (table.answered >= recent))
        if burst.is_erasure:  # a run that has begun may have read the person
            is_under_way = table.state == str(State.waiting)
        pipeline, digest = key_of(burst.leader)
        query = (
            sa.select(retrain_decisions)
            .where(table.pipeline == pipeline, table.parameters_digest == digest, is_under_way)
            .order_by(table.decided.desc())
            .limit(1)
        )
        row = connection.execute(query).first()
        if row is not None:
            return Decision.from_row(row)
        leader = burst.leader
        unjudged = Decision(
            id=leader.message_id,
            pipeline=pipeline,
            parameters=leader.parameters,
            parameters_digest=digest,
            reason=leader.reason,
            requested_by=leader.requested_by,
            state=State.waiting,
            sentence="",
            rules=(),
            decided=now,
        )
        decision = self._judge(connection, unjudged, burst, now)
        connection.execute(sa.insert(retrain_decisions), decision.to_row())
        return decision

    def _judge_again(
        self, connection: sa.Connection, decision: Decision, now: datetime
    ) -> Decision:
        members = [one.to_request() for one in _members(connection, decision.id)]
        if not members:
            return decision
        (burst,) = coalesce(members)
        after = self._judge(connection, decision, burst, now)
        connection.execute(_change(after))
        return after

    def _judge(
        self, connection: sa.Connection, decision: Decision, burst: Burst, now: datetime
    ) -> Decision:
        policy = self.policies.of(decision.pipeline)
        judgement = judge(policy, _facts(connection, decision.pipeline, burst, now))
        state = _STATES[judgement.verdict]
        return replace(
            decision,
            state=state,
            sentence=judgement.sentence,
            rules=tuple(rule.to_json() for rule in judgement.rules),
            decided=now,
            run_id=RUN_PREFIX + decision.id if state is State.approved else None,
        )


def _facts(connection: sa.Connection, pipeline: str, burst: Burst, now: datetime) -> Facts:
    """Put together what the ledger knows and what the messages bear."""
    evidence, overriding = burst.evidence, burst.overriding
    live, evaluated = evidence.get("live"), evidence.get("evaluated")
    return Facts(
        now=now,
        last_run=_last_run(connection, pipeline),
        runs_today=_runs_since(connection, pipeline, now - timedelta(hours=24)),
        new_rows=evidence.get("new_labelled_rows"),
        live=Estimate.from_json(live) if live else None,
        evaluated=Estimate.from_json(evaluated) if evaluated else None,
        override=overriding.override if overriding else "",
        requested_by=(overriding or burst.leader).requested_by,
        is_erasure=burst.is_erasure,
    )


def _last_run(connection: sa.Connection, pipeline: str) -> datetime | None:
    """When the pipeline was last run, by whomever; a run that failed does not count."""
    table = retrain_decisions.c
    asked = (
        sa.select(sa.func.max(table.decided))
        .outerjoin(
            runs, (runs.c.id == table.run_id) | (runs.c.id == table.pipeline + "~" + table.run_id)
        )
        .where(table.pipeline == pipeline)
        .where(table.state.in_([str(State.approved), str(State.started)]))
        .where(runs.c.status.is_(None) | runs.c.status.in_(_COUNTED))
    )
    begun = sa.select(sa.func.max(runs.c.started)).where(
        runs.c.pipeline == pipeline, runs.c.status.in_(_COUNTED)
    )
    moments = (aware(connection.execute(query).scalar()) for query in (asked, begun))
    return max((moment for moment in moments if moment is not None), default=None)


def _runs_since(connection: sa.Connection, pipeline: str, since: datetime) -> int:
    table = retrain_decisions.c
    query = sa.select(sa.func.count()).where(
        table.pipeline == pipeline,
        table.decided >= since,
        table.state.in_([str(State.approved), str(State.started)]),
    )
    return int(connection.execute(query).scalar_one())


def _known(connection: sa.Connection, names: Sequence[str]) -> dict[str, Decision]:
    found: dict[str, Decision] = {}
    for some in chunks(names):
        query = (
            sa.select(retrain_messages.c.id.label("message_id"), retrain_decisions)
            .join(retrain_decisions, retrain_decisions.c.id == retrain_messages.c.decision_id)
            .where(retrain_messages.c.id.in_(some))
        )
        for row in connection.execute(query):
            found[row.message_id] = Decision.from_row(row)
    return found


def _insert(
    connection: sa.Connection,
    requests: Iterable[RetrainRequest],
    decided: Mapping[str, Decision],
    now: datetime,
) -> None:
    rows = [message_row(one, decided[one.message_id].id, now) for one in requests]
    if rows:
        connection.execute(sa.insert(retrain_messages), rows)


def _joined() -> sa.Select[Any]:
    named = [column.label(f"message_{column.name}") for column in retrain_messages.c]
    return sa.select(*named, retrain_decisions).outerjoin_from(
        retrain_messages,
        retrain_decisions,
        retrain_decisions.c.id == retrain_messages.c.decision_id,
    )


def _members(connection: sa.Connection, decision: str) -> list[Message]:
    query = _joined().where(retrain_messages.c.decision_id == decision)
    query = query.order_by(retrain_messages.c.received, retrain_messages.c.id)
    return [_read_message(row) for row in connection.execute(query)]


def _read_message(row: Any) -> Message:
    values = {
        name: row._mapping[f"message_{name}"]
        for name in Message.__dataclass_fields__
        if name != "decision"
    }
    values.update(
        requested_at=aware(values["requested_at"]),
        received=aware(values["received"]),
        decision=None if row.id is None else Decision.from_row(row),
    )
    return Message(**values)


def _change(decision: Decision) -> sa.Update:
    values = {name: value for name, value in decision.to_row().items() if name != "id"}
    return sa.update(retrain_decisions).where(retrain_decisions.c.id == decision.id).values(values)
