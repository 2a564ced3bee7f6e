"""Telling people that a run failed or was refused.

Airflow calls this in the DAG processor, once per run. The log is told, and the Airflow connection
``learnloop_notify`` where there is one: an HTTP connection gets a JSON document with a ``text``
(what Slack, Mattermost and Teams take), an SMTP connection sends a mail to the addresses in its
extra ``to``.
"""

from __future__ import annotations

import json
import logging
import smtplib
import urllib.request
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

CONNECTION = "learnloop_notify"
TIMEOUT_SECONDS = 10

logger = logging.getLogger(__name__)


class FailureNotifier(BaseNotifier):
    """Tells a connection that a run did not end well.

    Args:
        connection: The Airflow connection's id.
    """

    def __init__(self, connection: str = CONNECTION) -> None:
        super().__init__()
        self.connection = connection

    def notify(self, context: Context) -> None:
        """Send the message; a fault of the receiver is logged, for nobody could mend it here.

        Args:
            context: Airflow's context of the run.
        """
        subject, text = failure_message(context["dag_run"].dag_id, context["run_id"])
        logger.error("%s\n%s", subject, text)
        connection = _find(self.connection)
        if connection is None:
            return
        try:
            send(connection, subject, text)
        except (OSError, smtplib.SMTPException) as fault:
            logger.error("The connection '%s' did not take it: %s", self.connection, fault)


def failure_message(dag_id: str, run_id: str) -> tuple[str, str]:
    """Word what happened to a run, from the ledger.

    Args:
        dag_id: The DAG.
        run_id: Airflow's id of the run.

    Returns:
        A subject, and the reasons by step with the command that tells more.
    """
    from learnloop.airflow.run_id import ledger_run_id
    from learnloop.ledger import open_ledger
    from learnloop.settings import load_settings

    name = ledger_run_id(dag_id, run_id)
    executions = open_ledger(load_settings().ledger_url).executions(name)
    refused = any(execution.status == "refused" for execution in executions)
    reasons = [
        f"{execution.step} {execution.status}: {reason}"
        for execution in executions
        if execution.status in ("refused", "failed", "cancelled")
        for reason in execution.reasons
    ]
    subject = f"{dag_id}: run {name} {'was refused' if refused else 'failed'}"
    return subject, "\n".join([*reasons, f"learnloop show {name}"])


def send(connection: Connection, subject: str, text: str) -> None:
    """Send a message.

    Args:
        connection: An HTTP or SMTP connection.
        subject: One line.
        text: The rest.

    Raises:
        OSError: The receiver cannot be reached or answered with an error.
        smtplib.SMTPException: The mail server refused.
    """
    if connection.conn_type == "smtp":
        _mail(connection, subject, text)
    else:
        _post(connection, {"text": f"{subject}\n{text}"})


def _post(connection: Connection, document: dict[str, Any]) -> None:
    request = urllib.request.Request(
        _url(connection),
        data=json.dumps(document).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
        pass


def _url(connection: Connection) -> str:
    host = connection.host or ""
    if "://" in host:
        return host
    scheme = connection.schema or connection.conn_type
    port = f":{connection.port}" if connection.port else ""
    return f"{scheme}://{host}{port}"


def _mail(connection: Connection, subject: str, text: str) -> None:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = connection.extra_dejson.get("from", connection.login or "learnloop")
    message["To"] = connection.extra_dejson["to"]
    message.set_content(text)
    host = connection.host or "localhost"
    with smtplib.SMTP(host, connection.port or 25, timeout=TIMEOUT_SECONDS) as server:
        if connection.login and connection.password:
            server.starttls()
            server.login(connection.login, connection.password)
        server.send_message(message)


def _find(name: str) -> Connection | None:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get(name)
    except AirflowNotFoundException:
        return None
