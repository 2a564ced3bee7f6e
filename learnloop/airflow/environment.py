"""The environment of an Airflow of our own, under the home folder.

Airflow reads its configuration from the environment when it is first imported, so this imports
nothing of it. Two Airflows never share a metadata database: the scheduler of ``make airflow`` would
take up the tasks of a run that another process is executing.
"""

from __future__ import annotations

import os
from pathlib import Path

from learnloop.settings import Settings, project_root

HERE = Path(__file__).parent
PLUGINS = HERE / "plugins"
CONFIG = HERE / "config"


def private_environment(home: Path, settings: Settings) -> dict[str, str]:
    """Say what every Airflow of ours has in its environment: quiet, with a database of its own.

    Args:
        home: Airflow's home folder.
        settings: Names the folder of DAG files.

    Returns:
        Value by variable.
    """
    return {
        "AIRFLOW_HOME": str(home),
        # SQLite has one writer: a process that finds it busy waits rather than fails.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(project_root() / settings.dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore",
    }


def server_environment(port: int, settings: Settings) -> dict[str, str]:
    """Say what ``make airflow`` has in its environment; what a person has set stays as it is.

    Args:
        port: The web server's port.
        settings: Names the home folder and the folder of DAG files.

    Returns:
        The whole environment of the processes.
    """
    url = f"http://127.0.0.1:{port}"
    wanted = private_environment(settings.home_folder / "airflow", settings) | {
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "learnloop=INFO components=INFO pipelines=INFO",
        "LEARNLOOP_PROJECT": str(project_root()),
    }
    paths = [str(project_root()), str(CONFIG), os.environ.get("PYTHONPATH", "")]
    return wanted | os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
