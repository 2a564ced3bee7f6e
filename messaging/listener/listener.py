"""The consumer: takes messages in batches, has them decided, asks for runs, and only then acks.

Everything that matters is in the ledger or on the broker before the next thing is done:

1. a batch is taken, unacknowledged;
2. poison goes to the dead letters; the rest is decided about in one transaction of the ledger;
3. the target is asked for the run of each approved decision;
4. its answer is recorded; then the messages are acked, put off, or dead-lettered.

A kill between any two of these leaves messages that come again and a decision that is found again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from learnloop.errors import LearnLoopError
from messaging.broker import (
    ATTEMPT,
    DEAD,
    DELAYED,
    QUEUE,
    REASON,
    Delays,
    connect,
    declare_queues,
    explain_broker_faults,
)
from messaging.coalescing import deduplicate
from messaging.decisions import Decisions
from messaging.listener.health import Health
from messaging.listener.target import Answer, Reply, Target
from messaging.messages import PoisonMessage, RetrainRequest, parse_request, poison_id
from messaging.publisher import publish
from messaging.records import Decision, State

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

BATCH = 1000
QUIET_SECONDS, WINDOW_SECONDS = 0.1, 0.5
"""A batch ends when nothing came for the first, or with the second after its first message."""

IDLE_SECONDS = 0.5
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
LEDGER_RETRY_SECONDS = 1.0
UNKNOWN_HOURS = 24.0
"""How long a pipeline that Airflow does not know may still turn up."""

log = logging.getLogger(__name__)
Given = TypeVar("Given")


class _Stopped(Exception):
    """Somebody asked the listener to stop while it waited."""


@dataclass(frozen=True)
class _Delivery:
    tag: int
    body: bytes
    attempt: int


class Listener:
    """Consumes requests to retrain, until it is told to stop.

    Args:
        url: The broker's address.
        decisions: Decides, and keeps what was decided.
        target: Makes runs.
        health: Is told how it goes.
        delays: How long a message waits for a further attempt.
        stopping: Is set to make it stop; :meth:`stop` does so.
        clock: Tells the time.
    """

    def __init__(
        self,
        url: str,
        decisions: Decisions,
        target: Target,
        health: Health,
        delays: Delays,
        stopping: threading.Event | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url = url
        self.decisions = decisions
        self.target = target
        self.health = health
        self.delays = delays
        self.clock = clock
        self.stopping = stopping or threading.Event()

    def stop(self) -> None:
        """Ask it to stop: it finishes the batch at hand. A signal handler may call this."""
        self.stopping.set()

    def run(self) -> None:
        """Listen until told to stop; a broker that goes away is waited for."""
        failures = 0
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                with explain_broker_faults(self._url):
                    self._listen()
            except _Stopped:
                return
            except LearnLoopError as fault:
                self.health.tell("broker", False)
                lasted = time.monotonic() - began > BACKOFF_SECONDS[-1]
                failures = 0 if lasted else failures
                seconds = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
                failures += 1
                log.warning("%s (%s) Trying again in %s s.", fault.what, fault.received, seconds)
                self.stopping.wait(seconds)

    def _listen(self) -> None:
        connection = connect(self._url)
        try:
            channel = connection.channel()
            declare_queues(channel)
            self.delays.declare(channel)
            channel.confirm_delivery()
            channel.basic_qos(prefetch_count=BATCH)
            _Session(self, connection, channel).consume()
        finally:
            if connection.is_open:
                connection.close()


class _Session:
    """One connection's time."""

    def __init__(
        self, owner: Listener, connection: BlockingConnection, channel: BlockingChannel
    ) -> None:
        self._owner = owner
        self._connection = connection
        self._channel = channel
        self._waiting: list[_Delivery] = []
        self._arrived = 0.0
        self._cancelled = False

    def consume(self) -> None:
        owner = self._owner
        self._channel.add_on_cancel_callback(self._on_cancel)
        self._channel.basic_consume(QUEUE, self._on_message)
        owner.health.tell("broker", True)
        log.info("Listening.")
        first = 0.0
        while not owner.stopping.is_set():
            had = len(self._waiting)
            self._connection.process_data_events(QUIET_SECONDS if had else IDLE_SECONDS)
            if self._cancelled:
                raise LearnLoopError("The broker ended the consumption of its queue.")
            now = time.monotonic()
            if not had:
                first = now
            if self._waiting and (
                len(self._waiting) >= BATCH
                or now - self._arrived >= QUIET_SECONDS
                or now - first >= WINDOW_SECONDS
            ):
                batch, self._waiting = self._waiting, []
                with owner.health.batch_seconds.time():
                    self._handle(batch)

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        attempt = (properties.headers or {}).get(ATTEMPT, 0)
        attempt = attempt if isinstance(attempt, int) and attempt > 0 else 0
        self._waiting.append(_Delivery(method.delivery_tag, body, attempt))
        self._arrived = time.monotonic()

    def _on_cancel(self, frame: Any) -> None:
        self._cancelled = True

    # A batch

    def _handle(self, batch: Sequence[_Delivery]) -> None:
        requests: list[RetrainRequest] = []
        deliveries: dict[str, list[_Delivery]] = {}
        poison: list[tuple[_Delivery, str, str]] = []
        for delivery in batch:
            try:
                request = parse_request(delivery.body)
            except PoisonMessage as fault:
                details = " ".join(filter(None, (fault.what, fault.where, fault.expected)))
                poison.append((delivery, poison_id(delivery.body), details))
            else:
                requests.append(request)
                deliveries.setdefault(request.message_id, []).append(delivery)
        if poison:
            self._bury_poison(poison)
        if requests:
            self._handle_requests(deduplicate(requests), deliveries)

    def _bury_poison(self, poison: Sequence[tuple[_Delivery, str, str]]) -> None:
        faults = {name: fault for _, name, fault in poison}
        decisions = self._owner.decisions
        self._patiently(lambda: decisions.record_poison(faults, self._owner.clock()))
        for delivery, name, fault in poison:
            self._bury(delivery, name, fault)

    def _handle_requests(
        self, requests: Sequence[RetrainRequest], deliveries: dict[str, list[_Delivery]]
    ) -> None:
        owner = self._owner
        decided = self._patiently(lambda: owner.decisions.decide(requests, owner.clock()))
        members: dict[str, list[str]] = {}
        for name, decision in decided.items():
            members.setdefault(decision.id, []).append(name)
        is_away = False
        for decision in {one.id: one for one in decided.values()}.values():
            if decision.state is State.approved and not is_away:
                decision, is_away = self._act(decision)
            owner.health.decisions.labels(decision.state).inc()
            for name in members[decision.id]:
                for delivery in deliveries[name]:
                    self._end(delivery, name, decision)

    def _act(self, decision: Decision) -> tuple[Decision, bool]:
        """Ask for a run; give the decision after that, and whether nobody answers."""
        owner = self._owner
        reply = self._patiently(lambda: owner.target.create(decision))
        owner.health.replies.labels(reply.answer).inc()
        owner.health.tell("target", reply.answer is not Answer.unreachable)
        now = owner.clock()
        state, why = _settle(decision, reply, now)
        if state is None:
            log.warning("Run %s has to wait: %s", decision.run_id, reply.said)
            return decision, reply.answer is Answer.unreachable
        log.info("Run %s: %s", decision.run_id, state)
        answer = self._patiently(lambda: owner.decisions.answer(decision, state, now, why))
        return answer, False

    # The end of a delivery

    def _end(self, delivery: _Delivery, name: str, decision: Decision) -> None:
        if not decision.state.is_settled:
            self._put_off(delivery, name)
        elif decision.state is State.dead_lettered:
            self._bury(delivery, name, decision.sentence)
        else:
            self._channel.basic_ack(delivery.tag)
            outcome = "refused"
            if decision.state is State.started:
                outcome = "caused" if decision.id == name else "coalesced"
            self._owner.health.messages.labels(outcome).inc()

    def _put_off(self, delivery: _Delivery, name: str) -> None:
        attempt = delivery.attempt + 1
        queue = self._owner.delays.queue(attempt)
        publish(self._channel, DELAYED, queue, delivery.body, name, {ATTEMPT: attempt})
        self._channel.basic_ack(delivery.tag)
        self._owner.health.delayed.inc()

    def _bury(self, delivery: _Delivery, name: str, reason: str) -> None:
        publish(self._channel, DEAD, QUEUE, delivery.body, name, {REASON: reason})
        self._channel.basic_ack(delivery.tag)
        self._owner.health.messages.labels("dead_lettered").inc()
        log.warning("Dead letter %s: %s", name, reason)

    def _patiently(self, action: Callable[[], Given]) -> Given:
        """Do something with the ledger; while that is away, wait, keeping the heartbeat."""
        owner = self._owner
        while True:
            try:
                done = action()
            except LearnLoopError as fault:
                owner.health.tell("ledger", False)
                log.warning("%s (%s)", fault.what, fault.received)
                self._connection.sleep(LEDGER_RETRY_SECONDS)
                if owner.stopping.is_set():
                    raise _Stopped from None
            else:
                owner.health.tell("ledger", True)
                return done


def _settle(decision: Decision, reply: Reply, now: datetime) -> tuple[State | None, str]:
    """Say what a reply makes of a decision, and why; None if the target is to be asked again."""
    if reply.answer is Answer.started:
        return State.started, ""
    if reply.answer is Answer.rejected:
        return State.dead_lettered, reply.said
    waited = now - decision.decided
    if reply.answer is Answer.unknown and waited > timedelta(hours=UNKNOWN_HOURS):
        return State.dead_lettered, f"{reply.said} ({UNKNOWN_HOURS:g} h long)"
    return None, ""
