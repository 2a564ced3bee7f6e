"""The DAG of retention: its one task enforces the periods of the project."""

from __future__ import annotations

import runpy
from pathlib import Path

from learnloop.settings import Settings

ROOT = Path(__file__).parents[2]


def test_its_task_enforces_the_periods(settings: Settings) -> None:
    toml = settings.home_folder.parent / "learnloop.toml"
    toml.write_text('features = []\n[retention]\nevents = "30d"\nartifacts = "30d"\n')
    dag = runpy.run_path(str(ROOT / "dags" / "retention.py"))["retention_dag"]
    (task,) = dag.tasks
    assert (dag.dag_id, task.task_id) == ("retention", "enforce")
    removed = {"events": 0, "predictions": 0, "features": 0, "artifacts": 0}
    assert task.python_callable() == removed
