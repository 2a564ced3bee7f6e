"""A run's two names: Airflow's is unique in a DAG, the ledger's everywhere."""

from __future__ import annotations


def ledger_run_id(dag_id: str, run_id: str) -> str:
    """Name an Airflow run in the ledger.

    Args:
        dag_id: The DAG; its name holds no ``~``, so that no two runs get one name.
        run_id: Airflow's id of the run.

    Example:
        >>> ledger_run_id("learner_outcome", "manual__2026-03-01T04:00:00+00:00")
        'learner_outcome~manual__2026-03-01T04:00:00+00:00'
    """
    return f"{dag_id}~{run_id}"


def is_of_airflow(run_id: str) -> bool:
    """Tell whether Airflow named a run, so that Airflow tells of its end, whoever dies.

    Args:
        run_id: A run's id in the ledger.

    Example:
        >>> is_of_airflow("sums~retrain-7"), is_of_airflow("sums-20260301-040000-1a2b")
        (True, False)
    """
    return "~" in run_id
