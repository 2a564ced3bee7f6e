"""Metrics pages of servers that do not exist, served by HTTP: what a canary's guard reads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TENSORFLOW_SERVING = """\
# TYPE :tensorflow:cc:saved_model:load_attempt_count counter
:tensorflow:cc:saved_model:load_attempt_count{model_path="/models/dense/5",status="success"} 1
# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="dense",status="OK"} 90
:tensorflow:serving:request_count{model_name="dense",status="INTERNAL"} 7
:tensorflow:serving:request_count{model_name="dense",status="INVALID_ARGUMENT"} 3
:tensorflow:serving:request_count{model_name="lstm",status="OK"} 1000
# TYPE :tensorflow:serving:request_latency histogram
:tensorflow:serving:request_latency_bucket{model_name="dense",API="predict",entrypoint="REST",le="10"} 0
:tensorflow:serving:request_latency_bucket{model_name="dense",API="predict",entrypoint="REST",le="18"} 40
:tensorflow:serving:request_latency_bucket{model_name="dense",API="predict",entrypoint="REST",le="+Inf"} 50
:tensorflow:serving:request_latency_sum{model_name="dense",API="predict",entrypoint="REST"} 9.1e+02
:tensorflow:serving:request_latency_count{model_name="dense",API="predict",entrypoint="REST"} 50
:tensorflow:serving:request_latency_bucket{model_name="dense",API="Predict",entrypoint="GRPC",le="10"} 5
:tensorflow:serving:request_latency_bucket{model_name="dense",API="Predict",entrypoint="GRPC",le="18"} 30
:tensorflow:serving:request_latency_bucket{model_name="dense",API="Predict",entrypoint="GRPC",le="+Inf"} 40
"""  # noqa: E501  # as TensorFlow Serving writes them


def embedded_page(counts: dict[int, tuple[int, int, dict[str, int]]], model: str = "dense") -> str:
    """A page that counts by version: answered, failed, and answers by bucket.

    Args:
        counts: By version.
        model: The model's name.
    """
    lines = [':tensorflow:serving:request_count{model_name="dense",status="OK"} 123456']
    for version, (answered, failed, buckets) in counts.items():
        labels = f'model_name="{model}",version="{version}"'
        runs = "learnloop_serving_version_runs_total"
        lines.append(f'{runs}{{{labels},status="OK"}} {answered}')
        lines.append(f'{runs}{{{labels},status="INTERNAL"}} {failed}')
        below = 0
        for bound, count in buckets.items():
            below += count
            name = "learnloop_serving_version_latency_bucket"
            lines.append(f'{name}{{{labels},le="{bound}"}} {below}')
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def serving_page(page: Callable[[], str]) -> Iterator[str]:
    """Serve a page, made anew at every request, and give its URL."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:  # the name that http.server calls
            body = page().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/monitoring/prometheus/metrics"
        server.shutdown()
