"""What ``learnloop serve`` does once its options are read."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from pathlib import Path

from feature_store.pseudonyms import load_keyring_if_any
from learnloop.access import is_loopback
from learnloop.errors import UsageError
from learnloop.settings import load_settings
from serving.prediction_log import LogSettings, PredictionLog
from serving.server.app import Server, ServerOptions
from serving.server.contract import ServingError
from serving.server.models import Limits, open_models
from serving.server.security import TOKENS_VARIABLE

CONFIG_NAME = "models.config"


def served_source(named: Path | None) -> Path:
    """Say what is served: what was named, else what was published.

    Args:
        named: A models.config or a folder of models; None for the settings' folder.
    """
    if named is not None:
        return named
    folder = load_settings().serving_folder
    config = folder / CONFIG_NAME
    return config if config.is_file() else folder


def log_settings(features: str, share: float, part_seconds: float) -> LogSettings | None:
    """Say what is written down of predictions, in the settings' folder.

    Args:
        features: ``raw``, ``digest``, or ``none`` for no log.
        share: The share of requests that is logged.
        part_seconds: How old predictions grow before they can be read.

    Raises:
        UsageError: The share is out of range, or a key for pseudonyms does not fit.
    """
    if features == "none":
        return None
    keyring = load_keyring_if_any()
    return LogSettings(
        load_settings().predictions_folder,
        key=None if keyring is None else keyring.current,
        features="digest" if features == "digest" else "raw",
        share=share,
        part_seconds=part_seconds,
    )


async def serve(
    source: Path, options: ServerOptions, limits: Limits, logged: LogSettings | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        source: A models.config or a folder of models.
        options: How it is served.
        limits: What a version takes before it refuses.
        logged: What is written down of predictions; None for nothing.

    Raises:
        UsageError: The source, the address or a file of TLS cannot be used.
    """
    _check_exposure(options)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("serving").setLevel(logging.INFO)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for kind in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(kind, stop.set)
    try:
        models = await open_models(source, limits=limits)
    except ServingError as refusal:
        raise UsageError(
            "The models cannot be served.", where=source, received=refusal.message
        ) from None
    log = None if logged is None else PredictionLog(logged)
    try:
        server = Server(models, options, log, poll=models.poll)
        if log is not None:
            server.metrics.logged = lambda: log.counts.totals()
        try:
            ports = await server.start()
        except OSError as fault:
            raise UsageError(
                "The server cannot listen.",
                where=f"{options.host}, ports {options.rest_port} and {options.grpc_port}",
                expected="an address of this machine and two free ports",
                received=fault,
                next="learnloop serve --rest-port 0 --grpc-port 0",
            ) from None
        # What is here by now stays; the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        scheme = "http" if options.tls is None else "https"
        print(
            f"Serving {source} with LearnLoop's embedded stand-in for TensorFlow Serving "
            "(it is not TensorFlow Serving itself).\n"
            f"  REST  {scheme}://{options.host}:{ports.rest}/v1/models\n"
            f"  gRPC  {options.host}:{ports.grpc}\n"
            f"  metrics  {scheme}://{options.host}:{ports.rest}{options.metrics_path}",
            flush=True,
        )
        await stop.wait()
        print("Draining: finishing what is in flight.", flush=True)
        await server.drain()
    finally:
        await models.close()
        if log is not None:
            await asyncio.to_thread(log.close)
    print("Stopped.", flush=True)


def _check_exposure(options: ServerOptions) -> None:
    """Refuse to let a whole network ask without proof of who it is."""
    is_mutual = options.tls is not None and options.tls.client_authority is not None
    if not (is_loopback(options.host) or is_mutual or (options.tls is not None and options.tokens)):
        raise UsageError(
            "A server that others can reach needs TLS, and tokens or certificates of its callers.",
            where=f"--host {options.host}",
            expected=f"--tls-certificate and --tls-key, with {TOKENS_VARIABLE} or "
            "--tls-client-authority",
            received=f"TLS: {'yes' if options.tls else 'no'}, "
            f"tokens: {'yes' if options.tokens else 'no'}",
        )
