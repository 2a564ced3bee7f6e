"""The log under load, full disks and kills: nothing blocks, nothing is doubled, little is lost."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from learnloop.errors import UsageError
from serving.prediction_log import LogCounts, LogSettings, PredictionLog, read_predictions
from serving.prediction_log.journal import ENDING, JOURNALS, UNFINISHED, Journal, recover
from tests.serving.prediction_log.notes import ADA, KEY, answered

ROOT = Path(__file__).parents[3]


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def numbers(folder: Path) -> list[float]:
    table = read_predictions(folder, "outcome")
    found: list[float] = table["feature.x"].to_pylist() if table.num_rows else []
    return found


def test_what_is_told_is_found_again(tmp_path: Path) -> None:
    began = time.time()
    with PredictionLog(LogSettings(tmp_path)) as log:
        for number in range(100):
            log(**answered(number, {"x-learnloop-subject": ADA}, label="canary", version=7))
    table = read_predictions(tmp_path, "outcome")
    assert table["feature.x"].to_pylist() == [float(number) for number in range(100)]
    assert table["feature.course"].to_pylist() == ["algebra"] * 100
    assert table["score"].to_pylist() == [number / 2 for number in range(100)]
    for name, value in {
        "model": "outcome",
        "version": 7,
        "label": "canary",
        "signature": "serving_default",
        "subject": ADA,
        "seconds": 0.001,
        "share": 1.0,
        "digest": None,
    }.items():
        assert table[name].to_pylist() == [value] * 100, name
    times = [moment.timestamp() for moment in table["time"].to_pylist()]
    assert began - 1e-3 <= times[0] <= times[-1] <= time.time()
    assert log.counts == LogCounts(100, 0, 0, 0, parts=log.counts.parts, unfit_subjects=0)
    assert not list((tmp_path / JOURNALS).iterdir())


def test_parts_lie_by_model_date_and_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1_700_000_000.0, 1_700_003_600.0, 1_700_003_601.0])
    log = PredictionLog(LogSettings(tmp_path, flush_seconds=60))
    with monkeypatch.context() as patch:
        patch.setattr("serving.prediction_log.log.time.time", lambda: next(moments))
        for number in range(3):
            log(**answered(number, model="a/b"))
    log.close()
    parts = {str(p.parent.relative_to(tmp_path)): p for p in tmp_path.rglob("*.parquet")}
    assert set(parts) == {
        "model=a%2Fb/date=2023-11-14/hour=22",
        "model=a%2Fb/date=2023-11-14/hour=23",
    }
    rows = {place: parquet.ParquetFile(part).metadata.num_rows for place, part in parts.items()}
    assert sorted(rows.values()) == [1, 2]


def test_a_full_queue_drops_and_never_blocks(tmp_path: Path) -> None:
    with PredictionLog(LogSettings(tmp_path, flush_seconds=3600, most_waiting=10)) as log:
        for number in range(25):
            log(**answered(number))
        assert (log.counts.waiting, log.counts.dropped) == (10, 15)
    assert numbers(tmp_path) == list(range(10))


def test_large_features_fill_the_queue_too(tmp_path: Path) -> None:
    settings = LogSettings(tmp_path, flush_seconds=3600, most_bytes=10_000)
    large = {"x": np.zeros((1, 1_000))}
    with PredictionLog(settings) as log:
        for _ in range(5):
            log(**answered(inputs=large))
        assert (log.counts.waiting, log.counts.dropped) == (2, 3)
    assert log.counts.logged == 2


def test_room_in_the_queue_comes_back(tmp_path: Path) -> None:
    settings = LogSettings(tmp_path, flush_seconds=0.01, most_bytes=1_000, most_waiting=3)
    with PredictionLog(settings) as log:
        for number in range(20):
            wait_until(lambda: log.counts.waiting == 0)
            log(**answered(number))
        assert log.counts.dropped == 0
    assert numbers(tmp_path) == list(range(20))


def test_a_sample_says_what_share_it_is(tmp_path: Path) -> None:
    draws = iter([0.1, 0.3, 0.24, 0.25, 0.9])
    log = PredictionLog(LogSettings(tmp_path, share=0.25), draw=lambda: next(draws))
    with log:
        for number in range(5):
            log(**answered(number))
    table = read_predictions(tmp_path, "outcome")
    assert table["feature.x"].to_pylist() == [0.0, 2.0]
    assert table["share"].to_pylist() == [0.25, 0.25]


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_out_of_range(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError) as caught:
        LogSettings(tmp_path, share=share)
    assert str(caught.value) == (
        "The share of requests that is logged is out of range.\n"
        "  where:    the prediction log\n"
        "  expected: above 0, at most 1\n"
        f"  received: {share}"
    )


def test_arrays_that_cannot_be_laid_out_end_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="serving.prediction_log.log")
    with PredictionLog(LogSettings(tmp_path, flush_seconds=0.01)) as log:
        log(**answered(inputs={"x": np.array([object()], object)}, model="odd"))
        wait_until(lambda: log.counts.dropped == 1)
        log(**answered(1))
    assert numbers(tmp_path) == [1.0]


def test_answers_of_many_models_and_threads(tmp_path: Path) -> None:
    """Every answer is logged once, in the order of its thread, whoever tells."""
    settings = LogSettings(tmp_path, flush_seconds=0.005, part_seconds=0.02)
    with PredictionLog(settings) as log:

        def tell(model: str) -> None:
            for number in range(500):
                log(**answered(number, model=model))

        models = ["one", "two", "three"]
        threads = [threading.Thread(target=tell, args=(model,)) for model in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for model in models:
        table = read_predictions(tmp_path, model)
        assert table["feature.x"].to_pylist() == [float(number) for number in range(500)]


def run(module: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.serving.prediction_log.{module}", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("room", [0, 3_000])
def test_a_full_disk_is_counted_and_waited_for(tmp_path: Path, room: int) -> None:
    told, err = run("full_disk", tmp_path, room).communicate(timeout=120)
    full, after = json.loads(told)
    assert full["faults"] >= 3
    assert full["dropped"] == 50
    if not room:
        assert full["logged"] == 0
    assert full["logged"] + full["dropped"] <= full["told"]
    assert after["waiting"] == 0
    assert after["dropped"] == 50
    assert after["logged"] == after["told"] - 50
    found = numbers(tmp_path)
    assert len(found) == after["logged"]
    assert found == sorted(set(found)), "in order, none twice"
    assert found[-1] == after["told"] - 1
    assert err.count("waits for its disk") == 1, "it is said once"


def kill_one(folder: Path, first: int, part_seconds: float, seconds: float) -> tuple[int, int]:
    """Let a process log for a while and kill it; give how many it told, and how many were safe."""
    process = run("writer", folder, first, part_seconds)
    assert process.stdout is not None
    told = safe = 0
    until = None
    for line in process.stdout:
        told, safe = int(line.split()[0]), int(line.split()[1])
        until = until or time.monotonic() + seconds
        if time.monotonic() > until and safe:
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().splitlines()
    if rest and len(rest[-1].split()) == 3:
        told, safe = int(rest[-1].split()[0]), int(rest[-1].split()[1])
    process.communicate()
    return told, safe


def test_a_kill_loses_only_what_was_not_yet_safe(tmp_path: Path) -> None:
    """Killed at any moment, also while a part is made: the next process finds all that was safe."""
    draw = random.Random(7)
    began = 0
    safe_in_all = 0
    for _ in range(4):
        told, safe = kill_one(tmp_path, began, 0.05, 0.2 + 0.2 * draw.random())
        began += told + 10
        safe_in_all += safe
    recover(tmp_path)
    assert not [part for part in tmp_path.rglob("*") if part.name.startswith(UNFINISHED)]
    found = numbers(tmp_path)
    assert len(found) == len(set(found)), "a kill between part and journal doubles nothing"
    assert safe_in_all <= len(found) <= began
    assert not list((tmp_path / JOURNALS).glob(f"*{ENDING}"))


def test_a_journal_that_is_written_is_left_alone(tmp_path: Path) -> None:
    """Two servers may share a folder."""
    with PredictionLog(LogSettings(tmp_path, flush_seconds=0.01, part_seconds=3600)) as log:
        log(**answered(1))
        wait_until(lambda: log.counts.logged == 1)
        assert recover(tmp_path) == 0
        with PredictionLog(LogSettings(tmp_path)) as other:
            other(**answered(2))
        assert other.counts.parts == 1
    assert sorted(numbers(tmp_path)) == [1.0, 2.0]


def test_the_next_start_makes_parts_of_what_was_left(tmp_path: Path) -> None:
    journal = left_behind(tmp_path, 5)
    with PredictionLog(LogSettings(tmp_path, flush_seconds=0.01)) as log:
        wait_until(lambda: log.counts.parts == 1)
    assert numbers(tmp_path) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert not journal.exists()


def test_parts_made_twice_are_the_same_part(tmp_path: Path) -> None:
    """Killed after the rename, before the journal was removed."""
    journal = left_behind(tmp_path, 5)
    content = journal.read_bytes()
    assert recover(tmp_path) == 1
    journal.write_bytes(content)
    assert recover(tmp_path) == 1
    assert numbers(tmp_path) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_torn_end_is_not_read(tmp_path: Path) -> None:
    """Wherever a power cut tore the journal, whole batches before it are read."""
    journal = left_behind(tmp_path, 3)
    content = journal.read_bytes()
    seen = set()
    for length in range(0, len(content) + 1, 97):
        journal.write_bytes(content[:length])
        parts = recover(tmp_path)
        found = numbers(tmp_path)
        assert found == [float(number) for number in range(len(found))]
        assert bool(found) == bool(parts)
        seen.add(len(found))
        for part in tmp_path.rglob("*.parquet"):
            part.unlink()
    assert seen >= {0, 1, 2}


def test_zeros_at_the_end_are_not_read(tmp_path: Path) -> None:
    """Some file systems leave them after a power cut."""
    journal = left_behind(tmp_path, 3)
    journal.write_bytes(journal.read_bytes() + b"\0" * 4096)
    recover(tmp_path)
    assert numbers(tmp_path) == [0.0, 1.0, 2.0]


def left_behind(folder: Path, batches: int) -> Path:
    """A journal of so many batches of one row, whose process is gone."""
    from serving.prediction_log.columns import Layout, Note

    layout = Layout(KEY, 1.0, keeps_features=True)

    def note(number: int) -> Note:
        told: dict[str, Any] = answered(number)
        return Note(time=1_700_000_000.0 + number, **told)

    first = layout.batch([note(0)])
    journal = Journal(folder, first.schema)
    for number in range(batches):
        journal.append(layout.batch([note(number)]))
    journal.close()
    return journal.path


def test_nothing_heavy_is_imported_before_the_first_answer(tmp_path: Path) -> None:
    script = (
        "import sys, serving.prediction_log\n"
        "assert not {'pyarrow', 'tensorflow', 'pandas'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True
    )
