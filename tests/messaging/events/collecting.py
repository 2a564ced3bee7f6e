"""Collectors and readers for tests: in this process, or as the command that production runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as dataset

from messaging.events.collector import CollectorSettings, EventCollector
from messaging.events.counting import EventCounts
from messaging.events.schema import KINDS

PATIENCE = 120.0


def collect_until(
    settings: CollectorSettings, messages: int, seconds: float = PATIENCE
) -> EventCounts:
    """Collect in this process until so many messages are written, repeated or quarantined."""
    counts = EventCounts()
    patience = time.monotonic() + seconds

    def is_done() -> bool:
        assert time.monotonic() < patience, f"{handled(counts)} of {messages} after {seconds} s"
        return handled(counts) >= messages

    EventCollector(settings, counts).run(is_done)
    return counts


def handled(counts: EventCounts) -> int:
    """How many messages a collector is done with."""
    return int(
        sum(
            sample.value
            for metric in counts.registry.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
    )


def collected(folder: Path, kind: str) -> pa.Table:
    """Read what a folder holds of a kind, as any reader of Parquet would."""
    if not (folder / kind).exists():
        return pa.table({"source": pa.array([], pa.string()), "sequence": pa.array([], pa.int64())})
    return dataset.dataset(folder / kind, partitioning="hive").to_table()


def sequences(folder: Path) -> list[int]:
    """The sequences of all events in a folder, sorted, as often as they are there."""
    return sorted(
        number for kind in KINDS for number in collected(folder, kind)["sequence"].to_pylist()
    )


def start(command: list[str], project: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start ``learnloop events …`` in a project."""
    return subprocess.Popen(
        [sys.executable, "-m", "learnloop", "events", *command],
        env={**os.environ, "LEARNLOOP_PROJECT": str(project), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
