"""``learnloop listen``: wires the consumer to the ledger, the policies and the target."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from learnloop.ledger import Ledger
    from messaging.listener.health import Health

DEFAULT_PORT = 9463
LEDGER_RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


class TargetName(StrEnum):
    """Who makes runs."""

    airflow = "airflow"
    local = "local"


def listen_command(
    target: Annotated[
        TargetName, typer.Option(help="Who makes runs: Airflow, or this machine.")
    ] = TargetName.airflow,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of /health and /metrics; 0 for any.")
    ] = DEFAULT_PORT,
    host: Annotated[str, typer.Option(help="The interface of /health and /metrics.")] = "127.0.0.1",
    policies_file: Annotated[
        Path | None,
        typer.Option("--policies", help="The file of policies; the project's policies.toml."),
    ] = None,
) -> None:
    """Consume requests to retrain until SIGTERM or Ctrl-C; then the batch at hand is finished.

    The broker is LEARNLOOP_RABBITMQ. Airflow is LEARNLOOP_AIRFLOW, with LEARNLOOP_AIRFLOW_USER and
    LEARNLOOP_AIRFLOW_PASSWORD. Policies are in the project's policies.toml.
    """
    from learnloop.access import explain_taken_port
    from learnloop.settings import load_settings, project_root
    from messaging.broker import Delays, broker_url, parameters_of
    from messaging.decisions import Decisions
    from messaging.listener.airflow import airflow_target
    from messaging.listener.health import Health, serving_health
    from messaging.listener.listener import Listener
    from messaging.listener.local import LocalTarget
    from messaging.listener.target import Target
    from messaging.policy.settings import load_policies, read_policies

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    for name in ("pika", "httpx"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings = load_settings()
    url = broker_url()
    parameters_of(url)
    policies = read_policies(policies_file) if policies_file else load_policies(project_root())
    airflow = airflow_target() if target is TargetName.airflow else None
    health, stopping = Health(), threading.Event()

    def end(number: int, frame: Any) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with contextlib.ExitStack() as stack:
        with explain_taken_port(
            "/health and /metrics", host, port, next="learnloop listen --port 0"
        ):
            taken = stack.enter_context(serving_health(health, port, host))
        log.info("Health: http://%s:%s/health", host, taken)
        ledger = _wait_for_ledger(settings.ledger_url, health, stopping)
        if ledger is None:
            return
        made: Target = airflow or LocalTarget(settings)
        stack.enter_context(contextlib.closing(made))
        decisions, delays = Decisions(ledger, policies), Delays(settings.retrain_delays)
        Listener(url, decisions, made, health, delays, stopping).run()


def _wait_for_ledger(url: str, health: Health, stopping: threading.Event) -> Ledger | None:
    """Open the ledger as soon as its database answers; None if that is waited for no longer.

    Raises:
        LearnLoopError: It answers, and cannot be used.
    """
    from sqlalchemy.exc import OperationalError

    from learnloop.errors import LearnLoopError
    from learnloop.ledger import open_ledger

    while not stopping.is_set():
        try:
            return open_ledger(url)
        except LearnLoopError as fault:
            if not isinstance(fault.__cause__, OperationalError):
                raise
            health.tell("ledger", False)
            log.warning("%s (%s)", fault.what, fault.received)
            stopping.wait(LEDGER_RETRY_SECONDS)
    return None
