"""Buttons on a task in Airflow: the run's report, and the model's version in MLflow.

Airflow 3 asks for an operator's links in the task's own process once it has ended, and keeps the
answers; a fault here never reaches the page that shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

REPORT_PATH = "/learnloop/dags/{dag_id}/runs/{run_id}/report"


class ReportLink(BaseOperatorLink):
    """Leads to the run's report, which the plugin serves."""

    name = "Run report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Give the address.

        Args:
            operator: The task.
            ti_key: Which run.
        """
        base: str = conf.get("api", "base_url", fallback="http://localhost:8080")
        place = {"dag_id": quote(ti_key.dag_id), "run_id": quote(ti_key.run_id, safe="")}
        return base.rstrip("/") + REPORT_PATH.format(**place)


class MlflowLink(BaseOperatorLink):
    """Leads to the version that the step registered, where MLflow has a web server."""

    name = "MLflow"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Give the address, "" where there is none.

        Args:
            operator: The task.
            ti_key: Which run.
        """
        from airflow.sdk.bases.xcom import BaseXCom

        from learnloop.artifacts import RegisteredModel
        from learnloop.settings import load_settings
        from learnloop.step import StepResult
        from learnloop.store import open_store

        settings = load_settings()
        if not settings.mlflow_uri.startswith("http"):
            return ""
        document = BaseXCom.get_value(ti_key=ti_key, key="return_value")
        if document is None:
            return ""
        store = open_store(settings.store_location, str(settings.home_folder))
        for record in StepResult.from_json(document).outputs.values():
            if record is not None and record.type == RegisteredModel.reference():
                model = RegisteredModel.open(store.fetch(record.uri)).load()
                place = f"{quote(model['name'])}/versions/{model['version']}"
                return f"{settings.mlflow_uri.rstrip('/')}/#/models/{place}"
        return ""
