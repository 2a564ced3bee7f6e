"""``make bench``: framework overhead, and whole pipelines beside the same work by hand.

Prints one JSON document. Sizes and repeats may be given::

    python -m benchmarks 10000 --repeats 1
    TFX_PYTHON=tfx-env/bin/python python -m benchmarks 10000
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks import overhead, whole_pipeline
from learnloop.runner import git_commit

SIZES = (10_000, 100_000, 1_000_000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", type=int, default=SIZES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without-hand", action="store_true", help="measure LearnLoop alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="learnloop-bench-") as folder:
        document = {
            "commit": git_commit(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "overhead": overhead.measure(),
            "pipelines": [
                whole_pipeline.measure(
                    rows, given.repeats, Path(folder), by_hand=not given.without_hand
                )
                for rows in given.rows
            ],
        }
    json.dump(document, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
