"""``make bench-features``: point-in-time joins beside pandas and Feast, in one run.

200,000 entity rows against 5 million rows of 5 features, in turn, each in a process of its own;
then against 50 million rows by LearnLoop alone. The answer is compared with that of pandas, value
by value. Feast takes part where FEAST_PYTHON names an interpreter with ``feast[duckdb]``. Writes
``docs/evidence/features.json``::

    python -m benchmarks.features --rows 500000 --large 0 --output /tmp/features.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.features.data import ENTITY_ROWS, FEATURES
from benchmarks.measure import run_measured
from learnloop.runner import git_commit

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "docs" / "evidence" / "features.json"
FIGURES = ("join_wall_seconds", "join_cpu_seconds", "wall_seconds", "cpu_seconds", "peak_mib")


def main() -> None:
    """Measure, compare, write and print."""
    parser = argparse.ArgumentParser(
        prog="make bench-features", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--large", type=int, default=50_000_000, help="0 leaves it out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=EVIDENCE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="learnloop-bench-") as folder:
        document: dict[str, Any] = {
            "commit": git_commit(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "entity_rows": ENTITY_ROWS,
            "features": len(FEATURES),
            "offline": _compare(Path(folder), given.rows, given.repeats),
        }
        if given.large:
            document["offline_large"] = _large(Path(folder), given.large)
    known = json.loads(given.output.read_text()) if given.output.exists() else {}
    text = json.dumps({**known, **document}, indent=1)
    given.output.write_text(text + "\n")
    print(text)


def _compare(folder: Path, rows: int, repeats: int) -> dict[str, Any]:
    _write_data(folder, rows)
    contenders = {"learnloop": sys.executable, "pandas": sys.executable}
    if feast := os.environ.get("FEAST_PYTHON"):
        contenders["feast"] = feast
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, python in contenders.items():
            runs[name].append(_run(name, python, folder))
    others = [name for name in contenders if name != "learnloop"]
    return {
        "rows": rows,
        **{name: {**_medians(costs), "runs": costs} for name, costs in runs.items()},
        "times_faster": {
            name: {
                figure: round(
                    median(
                        theirs[figure] / ours[figure]
                        for ours, theirs in zip(runs["learnloop"], runs[name], strict=True)
                    ),
                    2,
                )
                for figure in FIGURES
            }
            for name in others
        },
        "answers": {name: _differences(folder, name) for name in others},
    }


def _large(folder: Path, rows: int) -> dict[str, Any]:
    _write_data(folder, rows)
    return {"rows": rows, "learnloop": _run("learnloop", sys.executable, folder)}


def _write_data(folder: Path, rows: int) -> None:
    """Make the data in another process, so that none of its memory is counted."""
    command = [sys.executable, "-m", "benchmarks.features.data", str(folder), str(rows)]
    run_measured(command, {"PYTHONPATH": str(ROOT)}, folder / "data.log")


def _run(name: str, python: str, folder: Path) -> dict[str, float]:
    command = [python, "-m", f"benchmarks.features.by_{name}", str(folder)]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    cost = run_measured(command, environment, folder / f"{name}.log")
    within = json.loads((folder / f"{name}.json").read_text())
    return {figure: round(value, 3) for figure, value in {**within, **asdict(cost)}.items()}


def _medians(costs: list[dict[str, float]]) -> dict[str, float]:
    return {figure: median(cost[figure] for cost in costs) for figure in FIGURES}


def _differences(folder: Path, name: str) -> dict[str, int]:
    """Count the entity rows that another answers otherwise than we do."""
    import numpy as np
    import pandas as pd

    by = ["learner", "event_timestamp"]
    ours = pd.read_parquet(folder / "learnloop.parquet")
    theirs = pd.read_parquet(folder / f"{name}.parquet")
    if name == "feast":  # which gives the rows in another order; equal rows have equal answers
        ours, theirs = ours.drop_duplicates(by), theirs.drop_duplicates(by)
        theirs = ours[by].merge(theirs, on=by, how="left")
    columns = [
        (ours[feature].to_numpy(float), theirs[feature].to_numpy(float)) for feature in FEATURES
    ]
    differs = np.zeros(len(ours), bool)
    for our, their in columns:
        differs |= ~((our == their) | (np.isnan(our) & np.isnan(their)))
    return {"entity_rows": len(ours), "differing": int(differs.sum())}


if __name__ == "__main__":
    main()
