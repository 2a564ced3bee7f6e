"""Making ready what Airflow's processes need: the metadata database, and the pools of our tasks.

A pool that a component names (``Resources.pool``) and that does not exist would let its tasks wait
for ever. It is made with one slot, the narrowest; a person who wants more changes it, and a pool
that exists is left as it is. Run as a process of its own: Airflow reads its environment on import.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable


def main() -> int:
    """Make the database, or bring it up to date, then the pools.

    Returns:
        The exit code.
    """
    from airflow.__main__ import main as airflow

    # The command, since it also writes the secrets that Airflow's processes share.
    sys.argv = ["airflow", "db", "migrate"]
    airflow()
    make_pools(pools_of_dags())
    return 0


def pools_of_dags() -> set[str]:
    """Name the pools of every task in the folder of DAG files; a file with a fault has none."""
    from airflow.dag_processing.dagbag import DagBag

    dags = DagBag(include_examples=False, collect_dags=True).dags.values()
    return {task.pool for dag in dags for task in dag.tasks}


def make_pools(names: Iterable[str]) -> None:
    """Make the pools that do not exist, with one slot each.

    Args:
        names: Their names.
    """
    from airflow.models.pool import Pool

    for name in sorted(names):
        if Pool.get_pool(name) is None:
            Pool.create_or_update_pool(
                name, slots=1, description="Made for the DAGs' tasks.", include_deferred=False
            )


if __name__ == "__main__":
    sys.exit(main())
