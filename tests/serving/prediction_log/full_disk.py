"""A process whose files may not grow, as on a full disk; then they may again.

``python -m tests.serving.prediction_log.full_disk FOLDER BYTES``: prints what the log counted
while its files could hold so many bytes and no more, and after that, as JSON.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet  # noqa: F401  # loaded before nothing can be written any more

from serving.prediction_log import LogSettings, PredictionLog
from tests.serving.prediction_log.notes import answered

WAITING = 200


def main() -> None:
    """Fill the queue, with the disk full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails as on a full disk
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), most))
    settings = LogSettings(Path(sys.argv[1]), flush_seconds=0.02, most_waiting=WAITING)
    counted = []
    with PredictionLog(settings) as log:
        number = 0
        while log.counts.dropped < 50:
            log(**answered(number))
            number += 1
        wait(lambda: log.counts.faults >= 3)
        counted.append({**asdict(log.counts), "told": number})
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        wait(lambda: log.counts.waiting == 0)
        log(**answered(number))
    counted.append({**asdict(log.counts), "told": number + 1})
    print(json.dumps(counted))


def wait(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


if __name__ == "__main__":
    main()
