"""Pipelines on Apache Airflow: each becomes a DAG with one task per node.

::

    from learnloop.airflow.dag import airflow_dag

This package imports nothing by itself: Airflow reads its environment when it is first imported, and
:mod:`learnloop.airflow.environment` sets that before.
"""
