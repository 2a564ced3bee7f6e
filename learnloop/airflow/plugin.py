"""The Airflow plugin: runs are ended in the ledger, and their reports can be read.

Airflow tells listeners that a run has ended wherever that is decided: in the scheduler when the
last task has ended or the run's time is over, in the API server when a person marks it. That is
where the ledger's run ends, so that no run stays open because a task or a worker died.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from learnloop.airflow.ended import end_run
from learnloop.airflow.run_id import ledger_run_id
from learnloop.errors import UsageError
from learnloop.settings import load_settings

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from fastapi import FastAPI


class EndsRuns:
    """Listens for runs that have ended."""

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        """See :func:`learnloop.airflow.ended.end_run`."""
        end_run(dag_run.dag_id, dag_run.run_id, "cancelled")

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        """See :func:`learnloop.airflow.ended.end_run`; a person's mark comes without a message."""
        end_run(dag_run.dag_id, dag_run.run_id, "failed" if msg else "cancelled")


def report_pages() -> FastAPI:
    """Make the application that serves run reports to people who may read the DAG."""
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.responses import FileResponse

    application = FastAPI(title="LearnLoop")

    @application.get(
        "/dags/{dag_id}/runs/{run_id}/report", dependencies=[Depends(requires_access_dag("GET"))]
    )
    def report(dag_id: str, run_id: str) -> FileResponse:
        from learnloop.report import write_report

        try:
            path = write_report(ledger_run_id(dag_id, run_id), load_settings())
        except UsageError as unknown:
            raise HTTPException(404, str(unknown)) from unknown
        return FileResponse(path, media_type="text/html")

    return application


class LearnLoopPlugin(AirflowPlugin):
    """What Airflow finds."""

    name = "learnloop"
    listeners: list[Any] = [EndsRuns()]
    # Every process of Airflow loads its plugins; only this one serves pages.
    fastapi_apps: list[Any] = (
        [{"app": report_pages(), "url_prefix": "/learnloop", "name": "LearnLoop"}]
        if "api-server" in sys.argv
        else []
    )
