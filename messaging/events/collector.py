"""The consumer of learner events: from Kafka's partitions to parts on disk, each event once.

One thread consumes, parses and writes, so a slow disk slows the fetching down and memory stays
flat. What Kafka calls the committed offset is only told for others to see: the truth is the
position beside the parts, and that is where a claimed partition starts.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from learnloop.errors import LearnLoopError
from learnloop.settings import load_settings
from messaging.events.connection import open_client
from messaging.events.counting import EventCounts
from messaging.events.keys import LearnerKeys, open_learner_keys
from messaging.events.parsing import parse_events
from messaging.events.parts import QUARANTINE, PartitionParts, Progress, claim_partition
from messaging.events.schema import KINDS, MOMENT, TOPIC, part_schema
from messaging.events.sealing import Opened, open_events

logger = logging.getLogger(__name__)

FETCH = 10_000
MICROSECONDS_PER_HOUR = 3_600_000_000
CLAIM_SECONDS = 60.0
"""How long the last holder of a partition has to give it up."""


@dataclass(frozen=True)
class CollectorSettings:
    """What to collect, and when to write.

    Args:
        bootstrap: Kafka's ``host:port``, several by commas.
        folder: Where the parts go.
        topic: What to read.
        group: The consumer group; its members share the partitions.
        part_rows: Write when so many events wait.
        part_seconds: Write when the oldest has waited so long.
        accept_gap: Go on where Kafka has deleted events before they were collected, or where
            nobody has the key of sealed ones any more.
    """

    bootstrap: str
    folder: Path
    topic: str = TOPIC
    group: str = "learnloop-events"
    part_rows: int = 100_000
    part_seconds: float = 10.0
    accept_gap: bool = False


@dataclass
class _Claim:
    """A partition of this process, and what of it waits to be written."""

    parts: PartitionParts
    end: contextlib.ExitStack
    values: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)


class EventCollector:
    """Collects events until it is told to stop.

    Args:
        settings: What to collect, and when to write.
        counts: Counts what happens.
        keys: Open sealed events; those of the settings if None.
    """

    def __init__(
        self,
        settings: CollectorSettings,
        counts: EventCounts | None = None,
        keys: LearnerKeys | None = None,
    ) -> None:
        from confluent_kafka import Consumer

        self.settings = settings
        self.counts = counts or EventCounts()
        self._keys = keys or open_learner_keys(load_settings())
        self._claims: dict[int, _Claim] = {}
        self._oldest = 0.0
        self._fault: BaseException | None = None
        self._consumer = open_client(
            Consumer,
            {
                "bootstrap.servers": settings.bootstrap,
                "session.timeout.ms": 10_000,
                "group.id": settings.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest" if settings.accept_gap else "error",
                "partition.assignment.strategy": "cooperative-sticky",
                "queued.max.messages.kbytes": 65_536,
                # A full queue is empty long before the second for which librdkafka then rests.
                "fetch.queue.backoff.ms": 10,
                "enable.partition.eof": False,
                "logger": logger,
            },
        )

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Collect.

        Args:
            should_stop: Asked between two fetches; what waits is written before the end.

        Raises:
            LearnLoopError: Kafka or the disk failed in a way that waiting does not mend. What was
                not written is collected by the next run.
        """
        self._consumer.subscribe(
            [self.settings.topic],
            on_assign=self._kept(self._assign),
            on_revoke=self._kept(self._revoke),
            on_lost=self._kept(self._lose),
        )
        try:
            while not should_stop():
                messages = self._consumer.consume(FETCH, timeout=0.2)
                if self._fault is not None:
                    raise self._fault
                self._take(messages)
                if self._is_due():
                    self._write_all()
            self._write_all()
        finally:
            for claim in self._claims.values():
                claim.end.close()
            self._claims.clear()
            self._consumer.close()

    def _take(self, messages: list[Any]) -> None:
        for message in messages:
            if message.error() is not None:
                self._judge(message)
                continue
            claim = self._claims.get(message.partition())
            if claim is None:
                continue
            if not self._oldest:
                self._oldest = time.monotonic()
            claim.values.append(message.value() or b"")
            claim.offsets.append(message.offset())
            claim.moments.append(message.timestamp()[1])

    def _judge(self, message: Any) -> None:
        """Tell a fault that waiting mends (a broker that is away, a topic to come) from others."""
        from confluent_kafka import KafkaError

        error = message.error()
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise LearnLoopError(
                "Kafka no longer has the events that come next.",
                where=f"{self.settings.topic}, partition {message.partition()}",
                expected=f"offset {self._position(message.partition())}",
                received=error.str(),
                next="learnloop events collect --accept-gap, to go on without them",
            )
        refusals = (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.SASL_AUTHENTICATION_FAILED,
            KafkaError._AUTHENTICATION,
        )
        if error.fatal() or error.code() in refusals:
            raise LearnLoopError(
                "Kafka refused to give events.",
                where=self.settings.topic,
                received=error.str(),
                next="see that this group may read the topic, then run the command again",
            )
        logger.warning("Waiting for Kafka: %s", error.str())

    def _position(self, partition: int) -> int | None:
        claim = self._claims.get(partition)
        return claim.parts.progress.next_offset if claim else None

    def _is_due(self) -> bool:
        if not self._oldest:
            return False
        waiting = sum(len(claim.values) for claim in self._claims.values())
        is_old = time.monotonic() - self._oldest >= self.settings.part_seconds
        return is_old or waiting >= self.settings.part_rows

    def _write_all(self) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        written = []
        for partition, claim in self._claims.items():
            if claim.values:
                self._write(claim)
                offset = claim.parts.progress.next_offset
                written.append(TopicPartition(self.settings.topic, partition, offset))
            self._tell_lag(partition, claim)
        self._oldest = 0.0
        if written:
            try:
                self._consumer.commit(offsets=written, asynchronous=False)
            except KafkaException as fault:  # for others to see; the truth is on the disk
                logger.warning("The offsets could not be told to Kafka: %s", fault.args[0].str())

    def _write(self, claim: _Claim) -> None:
        before = claim.parts.progress
        offsets = np.array(claim.offsets, np.int64)
        recorded = pa.array(np.array(claim.moments, np.int64) * 1_000).cast(MOMENT)
        with claim.parts.writing():
            opened = self._open(claim.values)
            parsed = parse_events(opened.values)
            is_new, sequences = _without_repeats(parsed.events, before.sequences)
            moments = recorded.take(opened.places[parsed.positions])
            events = parsed.events.append_column("recorded_at", moments)
            events = events.filter(pa.array(is_new))
            parts = _by_kind_and_hour(events)
            refused = {int(opened.places[place]): why for place, why in parsed.refused.items()}
            refused = dict(sorted({**opened.refused, **refused}.items()))
            if refused:
                parts[QUARANTINE] = _quarantine(claim, refused, offsets, recorded)
            claim.parts.write(parts, Progress(int(offsets[-1]) + 1, sequences))
        self.counts.collected(
            {kind: n for kind in KINDS if (n := _count(events, kind))},
            repeated=len(is_new) - events.num_rows,
            quarantined=len(refused),
            erased=opened.erased,
            newest=compute.max(events["at"]).as_py(),
        )
        claim.values, claim.offsets, claim.moments = [], [], []

    def _open(self, values: list[bytes]) -> Opened:
        """Open what is sealed, with the keys that are there at this moment."""
        if self._keys is not None:
            self._keys.refresh()
        return open_events(values, self._keys, accept_gap=self.settings.accept_gap)

    def _tell_lag(self, partition: int, claim: _Claim) -> None:
        from confluent_kafka import TopicPartition

        place = TopicPartition(self.settings.topic, partition)
        _, end = self._consumer.get_watermark_offsets(place, cached=True)
        if end >= 0:
            self.counts.lagging(partition, end - (claim.parts.progress.next_offset or 0))

    def _kept(self, change: Callable[[Any, list[Any]], None]) -> Callable[[Any, list[Any]], None]:
        """Keep what a change of partitions raises: the client library calls it and must not see."""

        def changed(consumer: Any, partitions: list[Any]) -> None:
            try:
                change(consumer, partitions)
            except BaseException as fault:
                self._fault = self._fault or fault

        return changed

    def _assign(self, consumer: Any, partitions: list[Any]) -> None:
        from confluent_kafka import OFFSET_BEGINNING

        for place in partitions:
            stack = contextlib.ExitStack()
            parts = self._claim(stack, place.partition)
            position = parts.progress.next_offset
            place.offset = OFFSET_BEGINNING if position is None else position
            self._claims[place.partition] = _Claim(parts, stack)
        consumer.incremental_assign(partitions)

    def _claim(self, stack: contextlib.ExitStack, partition: int) -> PartitionParts:
        """Wait for the partition's last holder, who is giving it up or dead."""
        patience = time.monotonic() + CLAIM_SECONDS
        while time.monotonic() < patience:
            claim = claim_partition(self.settings.folder, self.settings.topic, partition)
            parts = stack.enter_context(claim)
            if parts is not None:
                return parts
            time.sleep(0.2)
        raise LearnLoopError(
            "Another process writes the events of this partition.",
            where=f"{self.settings.folder}, partition {partition}",
            expected="one collector of a consumer group for each partition",
            next="stop the other collector, or give it this one's --group",
        )

    def _revoke(self, consumer: Any, partitions: list[Any]) -> None:
        self._write_all()
        self._lose(consumer, partitions)
        consumer.incremental_unassign(partitions)

    def _lose(self, consumer: Any, partitions: list[Any]) -> None:
        """Give up partitions that belong to somebody else by now; what waits is theirs."""
        for place in partitions:
            claim = self._claims.pop(place.partition, None)
            if claim is not None:
                claim.end.close()


def _without_repeats(
    events: pa.Table, last: Mapping[str, int]
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Tell the events seen for the first time, and each source's last sequence with them."""
    sequences = dict(last)
    numbers = events["sequence"].to_numpy()
    is_new = np.zeros(len(numbers), bool)
    encoded = events["source"].combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([]).dictionary_encode()
    codes = encoded.indices.to_numpy()
    for code, source in enumerate(encoded.dictionary.to_pylist()):
        places = np.flatnonzero(codes == code)
        own = numbers[places]
        before = sequences.get(source, 0)
        highest = np.maximum.accumulate(np.concatenate([[before], own]))
        is_new[places] = own > highest[:-1]
        sequences[source] = int(highest[-1])
    return is_new, sequences


def _by_kind_and_hour(events: pa.Table) -> dict[str, pa.Table]:
    """Cut events into parts, those of a part in the order in which they came."""
    parts: dict[str, pa.Table] = {}
    for kind in KINDS:
        schema = part_schema(kind)
        rows = events.filter(compute.equal(events["kind"], kind)).select(schema.names).cast(schema)
        hours = rows["at"].cast(pa.int64()).to_numpy() // MICROSECONDS_PER_HOUR
        order = np.argsort(hours, kind="stable")
        found, starts = np.unique(hours[order], return_index=True)
        rows = rows.take(pa.array(order))
        ends = np.append(starts, len(order))[1:]
        for hour, first, last in zip(found, starts, ends, strict=True):
            name = np.datetime64(int(hour), "h")
            parts[f"{kind}/hour={name}"] = rows.slice(first, last - first)
    return parts


def _quarantine(
    claim: _Claim, refused: Mapping[int, str], offsets: NDArray[np.int64], recorded: pa.Array
) -> pa.Table:
    """Keep messages as they came: what was sealed stays sealed."""
    places = np.array(list(refused), np.int64)
    return pa.table(
        {
            "offset": offsets[places],
            "recorded_at": recorded.take(places),
            "reason": list(refused.values()),
            "value": pa.array([claim.values[place] for place in places], pa.binary()),
        }
    )


def _count(events: pa.Table, kind: str) -> int:
    return int(compute.sum(compute.equal(events["kind"], kind)).as_py() or 0)
