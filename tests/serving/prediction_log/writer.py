"""A process that logs until it is killed: ``python -m tests.serving.prediction_log.writer``.

Arguments: the folder, the first number, seconds of a part. Prints, line by line, how many
predictions it was told of and how many of them the log called safe before that.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from serving.prediction_log import LogSettings, PredictionLog
from tests.serving.prediction_log.notes import answered


def main() -> None:
    """Log numbers, one after the other."""
    folder, first, part_seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    log = PredictionLog(LogSettings(folder, flush_seconds=0.02, part_seconds=part_seconds))
    for told in itertools.count(1):
        safe = log.counts.logged
        log(**answered(first + told - 1))
        print(told, safe, time.time(), flush=True)
        time.sleep(0.0005)


if __name__ == "__main__":
    main()
