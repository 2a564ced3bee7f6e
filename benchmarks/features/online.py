"""Features of one learner and of a hundred from each online store, in this process.

200,000 learners with 10 features. Beside each store stands its floor: a bare ``SELECT`` of a packed
row, and a ``PING`` of Redis. Part of ``make bench-features``; writes into the same document::

    python -m benchmarks.features.online --rows 20000 --output /tmp/features.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.features.__main__ import EVIDENCE
from feature_store.definitions import FeatureView
from feature_store.fields import Entity, FeatureType, Field
from feature_store.gathering import gather
from feature_store.online.reading import OnlineReader
from feature_store.sources import ParquetSource, PushSource
from feature_store.store import FeatureStore
from learnloop.settings import load_settings

FEATURES = tuple(
    Field(f"feature_{at}", (FeatureType.FLOAT64, FeatureType.INT64)[at % 2]) for at in range(10)
)
VIEW = FeatureView(
    "activity",
    (Entity("learner", (Field("learner", FeatureType.INT64),)),),
    FEATURES,
    PushSource("stream", ParquetSource("kept", "data", "happened_at")),
    ttl=timedelta(days=30),
)
CALLS = 5000
PUSHES = 50


def main() -> None:
    """Measure each store, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--output", type=Path, default=EVIDENCE)
    given = parser.parse_args()
    online: dict[str, Any] = {"learners": given.rows, "features": len(FEATURES)}
    with tempfile.TemporaryDirectory(prefix="learnloop-bench-") as folder, redis(folder) as url:
        for name, place in (("sqlite", ""), ("redis", url)):
            if place is not None:
                online[name] = _measure(Path(folder) / name, place, given.rows)
    known = json.loads(given.output.read_text()) if given.output.exists() else {}
    given.output.write_text(json.dumps({**known, "online": online}, indent=1) + "\n")
    print(json.dumps({"online": online}, indent=1))


def _measure(folder: Path, place: str, rows: int) -> dict[str, Any]:
    folder.mkdir()
    (folder / "learnloop.toml").touch()
    os.environ["LEARNLOOP_PROJECT"] = str(folder)
    os.environ["LEARNLOOP_FEATURES_ONLINE"] = place
    _write_source(folder / "data", rows)
    store = FeatureStore(load_settings(), gather([VIEW]))
    store.apply()
    (done,) = store.materialize(None, datetime.now(UTC))
    choose = random.Random(1)
    reader = store.online_reader(store.ask(["activity"]))
    hundreds = [pa.table({"learner": choose.sample(range(rows), 100)}) for _ in range(CALLS // 10)]
    learners = [{"learner": choose.randrange(rows)} for _ in range(CALLS)]
    assert set(reader.one(learners[0]).statuses.values()) == {"PRESENT"}
    floor = _ping(place) if place else _select(store, choose, rows)
    return {
        "materialized_rows_per_second": round(rows / done.seconds),
        "one_learner": _times(reader.one, learners),
        "hundred_learners": _times(reader.many, hundreds),
        "floor": _times(floor, learners),
        "pushed_and_read": _pushed_and_read(store, reader),
    }


def _write_source(folder: Path, rows: int) -> None:
    random_numbers = np.random.default_rng(0)
    happened = datetime.now(UTC) - timedelta(days=1)
    folder.mkdir()
    columns = {
        "learner": pa.array(np.arange(rows)),
        "happened_at": pa.array([happened] * rows, pa.timestamp("us", "UTC")),
        **{
            field.name: pa.array(random_numbers.integers(0, 1000, rows), field.dtype.arrow)
            for field in FEATURES
        },
    }
    parquet.write_table(pa.table(columns), folder / "activity.parquet")


def _pushed_and_read(store: FeatureStore, reader: OnlineReader) -> dict[str, float]:
    """Push a row, durably, and read it."""

    def push(number: int) -> None:
        row = {field.name: number for field in FEATURES}
        store.push("stream", [{"learner": 1, "happened_at": datetime.now(UTC), **row}])
        assert reader.one({"learner": 1}).values["feature_1"] == number

    return _times(push, list(range(PUSHES)))


def _times(work: Callable[[Any], object], given: list[Any]) -> dict[str, float]:
    """Time calls, in microseconds."""
    for one in given[: len(given) // 10]:
        work(one)
    times = []
    for one in given:
        began = time.perf_counter_ns()
        work(one)
        times.append(time.perf_counter_ns() - began)
    times.sort()
    return {
        "p50": round(times[len(times) // 2] / 1000, 1),
        "p99": round(times[len(times) * 99 // 100] / 1000, 1),
    }


def _select(store: FeatureStore, choose: random.Random, rows: int) -> Callable[[Any], object]:
    """A bare ``SELECT`` of a packed row."""
    connection = sqlite3.connect(store.settings.home_folder / "features" / "online.db")
    connection.execute("PRAGMA mmap_size = 4294967296")
    keys = [key for (key,) in connection.execute("SELECT key FROM rows LIMIT 5000")]
    statement = "SELECT row FROM rows WHERE view = 1 AND key = ?"
    return lambda _: connection.execute(statement, (choose.choice(keys),)).fetchone()


def _ping(url: str) -> Callable[[Any], object]:
    """A ``PING`` on a socket."""
    connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))

    def ping(_: object) -> None:
        connection.sendall(b"PING\r\n")
        connection.recv(100)

    return ping


@contextlib.contextmanager
def redis(folder: str) -> Iterator[str | None]:
    """Run a private Redis where it is installed, and give its URL."""
    if shutil.which("redis-server") is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
