"""``learnloop metrics``: what is on record, for Prometheus."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_PORT = 9464


def metrics(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of /metrics; 0 for any.")
    ] = DEFAULT_PORT,
    host: Annotated[str, typer.Option(help="The interface of /metrics.")] = "127.0.0.1",
) -> None:
    """Tell Prometheus of runs, models, features and disks until SIGTERM or Ctrl-C."""
    import signal

    from learnloop.metrics.page import serving_metrics
    from learnloop.settings import load_settings

    endings = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    with serving_metrics(load_settings(), port, host) as taken:
        print(f"Metrics: http://{host}:{taken}/metrics", flush=True)
        signal.sigwait(endings)
