"""Loads heavy libraries into the scheduler once, before it forks the processes that run tasks.

Airflow imports this module in each of its processes. LocalExecutor's tasks are forks of the
scheduler's: what is imported there is there for every task, at no cost. It is imported only; no
operation may run before a fork, and no code of the project belongs here: it changes while Airflow
runs. ``LEARNLOOP_PRELOAD`` names other modules, separated by spaces.
"""

import contextlib
import importlib
import os
import sys

LIBRARIES = "tensorflow tensorflow_transform tensorflow_data_validation"

if "scheduler" in sys.argv:
    for library in os.environ.get("LEARNLOOP_PRELOAD", LIBRARIES).split():
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
