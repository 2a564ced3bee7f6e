"""Loads heavy libraries into a process of Airflow once, before it forks those that need them.

Airflow imports this module in each of its processes. LocalExecutor's tasks are forks of the
scheduler's: what is imported there is there for every task, at no cost. It is imported only; no
operation may run before a fork, and no code of the project belongs here: it changes while Airflow
runs. ``LEARNLOOP_PRELOAD`` names other modules for them, separated by spaces. DAG files are parsed
in forks of the DAG processor's, and need the client of Kubernetes where pods run tasks.
"""

import contextlib
import importlib
import os
import sys

LIBRARIES = "tensorflow tensorflow_transform tensorflow_data_validation"


def libraries() -> list[str]:
    """Name what the children of this process need."""
    if "scheduler" in sys.argv:
        return os.environ.get("LEARNLOOP_PRELOAD", LIBRARIES).split()
    has_pods = "KubernetesExecutor" in os.environ.get("AIRFLOW__CORE__EXECUTOR", "")
    return ["kubernetes.client"] if has_pods and "dag-processor" in sys.argv else []


for library in libraries():
    with contextlib.suppress(ImportError):
        importlib.import_module(library)
