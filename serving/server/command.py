"""``learnloop serve``: the embedded server on a machine without TensorFlow Serving."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogFeatures(StrEnum):
    """What the prediction log keeps of features."""

    RAW = "raw"
    DIGEST = "digest"
    NONE = "none"


def serve_command(
    models: Annotated[
        Path | None,
        typer.Argument(
            help="A models.config, or a folder of models. Without it, what was published.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address; others than loopback need TLS and tokens.")
    ] = "127.0.0.1",
    rest_port: Annotated[int, typer.Option(help="REST's port; 0 for any.", min=0)] = 8501,
    grpc_port: Annotated[int, typer.Option(help="gRPC's port; 0 for any.", min=0)] = 8500,
    poll_seconds: Annotated[
        float, typer.Option(help="How often the disk is looked at for versions.", min=0.05)
    ] = 1.0,
    batch_rows: Annotated[int, typer.Option(help="Rows of a batch.", min=1)] = 1024,
    queued_requests: Annotated[
        int, typer.Option(help="Requests that wait for a version; more are refused.", min=1)
    ] = 10_000,
    rest_seconds: Annotated[
        float, typer.Option(help="How long a REST request may take.", min=0.001)
    ] = 30.0,
    drain_seconds: Annotated[
        float, typer.Option(help="How long the end waits for what is in flight.", min=0.0)
    ] = 30.0,
    busy_poll_microseconds: Annotated[
        float,
        typer.Option(
            help="How long a core stays awake for a next REST request, while they follow one "
            "another closely; 0 for never.",
            min=0.0,
            max=10_000.0,
        ),
    ] = 100.0,
    largest_request: Annotated[
        int, typer.Option(help="Bytes of a request; more are refused.", min=1024)
    ] = 64 << 20,
    metrics_path: Annotated[
        str, typer.Option(help="Where Prometheus finds the metrics, on REST's port.")
    ] = "/monitoring/prometheus/metrics",
    log_features: Annotated[
        LogFeatures,
        typer.Option(help="What the prediction log keeps of features; none logs nothing at all."),
    ] = LogFeatures.RAW,
    log_share: Annotated[
        float, typer.Option(help="The share of requests that is logged, above 0 to 1.")
    ] = 1.0,
    log_part_seconds: Annotated[
        float, typer.Option(help="How old predictions grow before they can be read.", min=0.1)
    ] = 60.0,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="The server's certificate and chain (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    tls_client_authority: Annotated[
        Path | None, typer.Option(help="Callers need a certificate of this authority (PEM).")
    ] = None,
) -> None:
    """Serve published models by TensorFlow Serving's REST and gRPC APIs.

    This is the embedded stand-in, not TensorFlow Serving: for a laptop, a test or a small school.
    Predictions are logged to the folder of the setting "predictions".
    Bearer tokens are read from LEARNLOOP_SERVING_TOKENS, separated by commas. SIGTERM drains:
    health says NOT_SERVING, nothing new is taken, and what is in flight is answered.
    """
    import uvloop

    from learnloop.access import TlsFiles
    from serving.server.app import ServerOptions
    from serving.server.models import Limits
    from serving.server.rest.connection import RestLimits
    from serving.server.rpc.server import RpcLimits
    from serving.server.running import log_settings, serve, served_source
    from serving.server.security import Tokens

    options = ServerOptions(
        host=host,
        rest_port=rest_port,
        grpc_port=grpc_port,
        tls=TlsFiles.named(tls_certificate, tls_key, tls_client_authority),
        tokens=Tokens.from_environment(),
        metrics_path=metrics_path,
        rest_seconds=rest_seconds,
        poll_seconds=poll_seconds,
        drain_seconds=drain_seconds,
        busy_poll_seconds=busy_poll_microseconds * 1e-6,
        rest_limits=RestLimits(body_bytes=largest_request),
        rpc_limits=RpcLimits(message_bytes=largest_request),
    )
    limits = Limits(batch_rows=batch_rows, queued_requests=queued_requests)
    logged = log_settings(log_features, log_share, log_part_seconds)
    uvloop.run(serve(served_source(models), options, limits, logged))
