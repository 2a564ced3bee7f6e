"""The DAG of the feature store's own work: its tasks, one after the other, in Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEFINITIONS = """
from feature_store.definitions import FeatureView
from feature_store.fields import Entity, FeatureType, Field
from feature_store.sources import ParquetSource, PushSource

learner = Entity("learner", (Field("learner", FeatureType.INT64),))
attempts = FeatureView(
    "attempts",
    (learner,),
    (Field("count", FeatureType.INT64),),
    PushSource("attempt_stream", ParquetSource("kept", "data/attempts", "happened_at")),
)
"""
SCRIPT = """
import functools, runpy
from datetime import UTC, datetime, timedelta
from airflow.sdk.execution_time import supervisor
supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)
from feature_store.store import FeatureStore

store = FeatureStore()
store.apply()
features = runpy.run_path("{dag}")["features_dag"]

def push(learner, minutes):
    happened = datetime.now(UTC) - timedelta(minutes=minutes)
    row = {{"learner": learner, "count": learner, "happened_at": happened}}
    store.push("attempt_stream", [row])

run = features.test()
assert run.state == "success", run.state
push(1, 30)
push(2, 20)
store.online_stores[0].drop("attempts")
run = features.test()
assert run.state == "success", run.state
row = store.online_reader(store.ask(["attempts"])).one({{"learner": 2}})
print("RESULT", row.values, len(list(__import__("pathlib").Path("data").rglob("*.parquet"))))
"""


def test_its_tasks_fill_the_online_store(tmp_path: Path) -> None:
    package = tmp_path / "views"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "feature_views.py").write_text(DEFINITIONS)
    (tmp_path / "learnloop.toml").write_text('features = ["views"]\n')
    environment = {
        **{name: v for name, v in os.environ.items() if not name.startswith("LEARNLOOP_")},
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "LEARNLOOP_PROJECT": str(tmp_path),
    }
    script = SCRIPT.format(dag=ROOT / "dags" / "features.py")
    for command in (["-m", "airflow", "db", "migrate"], ["-c", script]):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "RESULT {'count': 2} 1" in done.stdout
