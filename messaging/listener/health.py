"""How the listener is: figures for Prometheus at ``/metrics``, and one word at ``/health``.

No figure is labelled by pipeline: a message may name anything.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST


class Health:
    """What is told. One object for each listener; any thread may read it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name = "learnloop_retrain"
        self.messages = Counter(
            f"{name}_messages",
            "Messages that ended, by what became of them.",
            ["outcome"],
            registry=self.registry,
        )
        self.decisions = Counter(
            f"{name}_decisions",
            "Times that a decision was found in a state.",
            ["state"],
            registry=self.registry,
        )
        self.replies = Counter(
            f"{name}_replies", "What the target answered.", ["answer"], registry=self.registry
        )
        self.delayed = Counter(
            f"{name}_delayed_messages",
            "Messages put off to a later attempt.",
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            f"{name}_batch_seconds", "Time from a batch to its last word.", registry=self.registry
        )
        self.broker = Gauge(f"{name}_broker_up", "1 while connected.", registry=self.registry)
        self.ledger = Gauge(f"{name}_ledger_up", "1 while it answers.", registry=self.registry)
        self.target = Gauge(f"{name}_target_up", "1 while it answers.", registry=self.registry)
        self._parts = {"broker": False, "ledger": True, "target": True}
        self.ledger.set(1)
        self.target.set(1)

    def tell(self, part: str, is_up: bool) -> None:
        """Note whether a part works.

        Args:
            part: ``broker``, ``ledger`` or ``target``.
            is_up: Whether it does.
        """
        self._parts[part] = is_up
        {"broker": self.broker, "ledger": self.ledger, "target": self.target}[part].set(is_up)

    @property
    def parts(self) -> dict[str, bool]:
        """Whether each part works."""
        return dict(self._parts)

    @property
    def is_healthy(self) -> bool:
        """Whether messages can be decided about; a target that is away is only waited for."""
        return self._parts["broker"] and self._parts["ledger"]


@contextlib.contextmanager
def serving_health(health: Health, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Answer ``/health`` and ``/metrics`` for the length of a ``with`` block.

    Args:
        health: What is told.
        port: The port; 0 for any.
        host: The interface.

    Yields:
        The port.

    Raises:
        OSError: The port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(health.registry))
            elif self.path == "/health":
                words = {True: "up", False: "down"}
                document = {part: words[is_up] for part, is_up in health.parts.items()}
                status = 200 if health.is_healthy else 503
                self._answer(status, "application/json", json.dumps(document).encode())
            else:
                self._answer(404, "text/plain", b"/health or /metrics\n")

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((host, port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
