"""Airflow parses DAG files again and again: each is quick, and imports no heavy library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "dags").glob("*.py"))
HEAVY = {
    "boto3", "duckdb", "great_expectations", "keras", "kubernetes", "mlflow", "numpy", "pandas",
    "plotly", "pyarrow", "scipy", "sklearn", "tensorflow", "tensorflow_data_validation",
    "tensorflow_metadata", "tensorflow_transform", "tf_keras", "tfx_bsl", "apache_beam",
}  # fmt: skip
FIRST_TASKS = {
    "monitoring": "load_served",
    "features": "compact",
    "practice_histories": "histories",
    "promotion": "promote",
    "retention": "enforce",
}
"""Of the DAGs that ingest nothing."""

MAX_SECONDS = 0.150
MAX_MODULES = 250
ATTEMPTS = 3

SCRIPT = """
import json, runpy, sys, time
import airflow.sdk
before = set(sys.modules)
began = time.process_time()
found = runpy.run_path(sys.argv[1])
seconds = time.process_time() - began
dags = [value for value in found.values() if isinstance(value, airflow.sdk.DAG)]
print(json.dumps({
    "seconds": seconds,
    "modules": sorted(set(sys.modules) - before),
    "dags": {dag.dag_id: list(dag.task_dict) for dag in dags},
}))
"""


def parse(file: Path, home: Path) -> dict[str, Any]:
    """Parse a DAG file in a process that has imported ``airflow.sdk`` and nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file)],
        cwd=ROOT,
        env={
            **{n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPATH": str(ROOT),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
            "LEARNLOOP_PROJECT": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dag_file_is_light(file: Path, tmp_path: Path) -> None:
    """The processor's time counts, not the clock's, and the first attempt may compile modules."""
    seconds = []
    for _ in range(ATTEMPTS):
        found = parse(file, tmp_path / "airflow")
        seconds.append(found["seconds"])
        if seconds[-1] <= MAX_SECONDS:
            break
    assert found["dags"] and all(dag.startswith(file.stem) for dag in found["dags"])
    first_tasks = {tasks[0] for tasks in found["dags"].values()}
    assert first_tasks == {FIRST_TASKS.get(file.stem, "ingest")}
    assert HEAVY.intersection(name.partition(".")[0] for name in found["modules"]) == set()
    assert len(found["modules"]) <= MAX_MODULES
    assert min(seconds) <= MAX_SECONDS, seconds


def test_every_pipeline_has_a_dag_file() -> None:
    pipelines = {path.parent.name for path in (ROOT / "pipelines").glob("*/pipeline.py")}
    assert pipelines <= {file.stem for file in FILES}
