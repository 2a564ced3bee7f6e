"""Airflow for one turn: the two DAGs that it needs, without a schedule, switched on."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from learnloop.airflow.server import find_port, running_airflow
from learnloop.errors import LearnLoopError
from learnloop.settings import load_settings
from pipelines.knowledge_tracing.pipeline import NAME

DAGS = (NAME, f"promotion_{NAME}")
PARSE_SECONDS = 120.0
_FILE = f'''"""The DAGs of dags/, without a schedule: here a message is all that makes a run."""

from learnloop.airflow.dag import airflow_dag
from learnloop.airflow.operator import asset_of
from pipelines.{NAME}.pipeline import {NAME}
from pipelines.promotion.pipeline import promotion

training = airflow_dag({NAME}, parameters={{"source": "named by the message"}})
promoting = airflow_dag(
    promotion,
    dag_id="{DAGS[1]}",
    schedule=asset_of("{NAME}", "push", "published"),
    parameters={{"model": "{NAME}"}},
)
'''


@contextlib.contextmanager
def airflow_for(folder: Path) -> Iterator[str]:
    """Run Airflow until the block ends, its DAGs switched on.

    Args:
        folder: Takes the DAG file.

    Yields:
        Airflow's address, which the environment names for a listener too.

    Raises:
        LearnLoopError: It did not start.
    """
    dags = folder / "dags"
    dags.mkdir()
    (dags / "loop.py").write_text(_FILE)
    os.environ["LEARNLOOP_DAGS"] = str(dags)
    with running_airflow(load_settings(), find_port()) as server:
        os.environ["LEARNLOOP_AIRFLOW"] = server.url
        _switch_on(server.url)
        yield server.url


def _switch_on(url: str) -> None:
    import httpx

    until = time.monotonic() + PARSE_SECONDS
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        token = client.post("/auth/token", json={"username": "", "password": ""}).json()
        client.headers["Authorization"] = f"Bearer {token['access_token']}"
        for dag in DAGS:
            path = f"/api/v2/dags/{dag}"
            while not client.patch(path, json={"is_paused": False}).is_success:
                if time.monotonic() > until:
                    raise LearnLoopError(f"Airflow does not find the DAG '{dag}'.", where=url)
                time.sleep(0.5)
