"""All that is watched, scraped by a real Prometheus on the shipped rules; and a page's way out."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import re
import signal
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from messaging.private_broker import PrivateBroker
from monitoring.grafana.boards import dashboards
from serving.embedded import embedded_server
from tests.components import test_monitor as exams
from tests.feature_store.online.school import ago
from tests.monitoring.promql import uses
from tests.monitoring.shipped import alertmanager, ask, eventually, prometheus, rules
from tests.monitoring.world import world
from tests.serving.server.tiny_models import MODEL, write_version

pytestmark = pytest.mark.xdist_group("rabbitmq")

OF_TARGETS = frozenset({"job", "instance"})
EXPRESSIONS = sorted(
    {rule["expr"] for kind in ("alert", "record") for rule in rules(kind)}
    | {t.expr for board in dashboards() for panel in board.panels for t in panel.targets}
)
LEGENDS = {
    t.legend_format: t.expr
    for board in dashboards()
    for panel in board.panels
    for t in panel.targets
}


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory, rabbitmq: PrivateBroker) -> Iterator[str]:
    """A Prometheus that has scraped everything twice."""
    folder = tmp_path_factory.mktemp("watched")
    with world(folder, rabbitmq) as targets, prometheus(folder, targets) as server:
        everything = sum(len(groups) for groups in targets.values())
        eventually(lambda: len(ask(server, "query", query="up == 1")["result"]) == everything)
        for seen_late in (
            "sum(learnloop_events_collected_total) == 4",
            "learnloop_events_quarantined_total == 1",
            "learnloop_prediction_log_logged_total > 0",
            "learnloop_retrain_delayed_messages_total > 0",
            'learnloop_retrain_messages_total{outcome="dead_lettered"} == 1',
            "learnloop_features_request_seconds_count",
            "learnloop_events_lag",
            'rabbitmq_detailed_queue_messages{queue="retrain.dead"} == 1',
            f'model:serving_error_ratio:rate3d{{model_name="{MODEL}"}} == 0',
            f'model:serving_latency_seconds:p99_5m{{model_name="{MODEL}"}}',
            'pipeline:run_due_seconds{pipeline="monitoring"}',
        ):
            eventually(functools.partial(_find, server, seen_late))
        yield server


def _find(server: str, query: str) -> Any:
    return ask(server, "query", query=query)["result"]


@pytest.fixture(scope="module")
def labels(watching: str) -> dict[str, set[str]]:
    """The labels of each metric that was really scraped."""
    found: dict[str, set[str]] = {}
    for series in ask(watching, "series", **{"match[]": '{__name__=~".+"}'}):
        found.setdefault(series.pop("__name__"), set()).update(series)
    return found


def test_what_rules_and_dashboards_ask_for_is_told(labels: dict[str, set[str]]) -> None:
    recorded = {rule["record"]: rule for rule in rules("record")}
    faults = []
    for expression in EXPRESSIONS:
        used, known = uses(expression), {*OF_TARGETS, "le"}
        for metric, selected in used.metrics.items():
            there = labels.get(metric, set()) | set(recorded.get(metric, {}).get("labels", {}))
            known |= there
            if metric not in labels:
                faults.append(f"{metric} is told by nobody: {expression}")
            elif not selected <= there:
                faults.append(f"{metric} has no label {selected - there}: {expression}")
        if not used.labels <= known:
            faults.append(f"nothing has a label {used.labels - known}: {expression}")
    assert faults == []


def test_what_people_read_names_labels_that_are_there(labels: dict[str, set[str]]) -> None:
    told = {rule["annotations"]["summary"]: rule["expr"] for rule in rules("alert")}
    for text, expression in (told | LEGENDS).items():
        known = set(OF_TARGETS).union(*(labels[metric] for metric in uses(expression).metrics))
        named = set(re.findall(r"\$labels\.(\w+)|\{\{(\w+)\}\}", text))
        assert {a or b for a, b in named} <= known, text


def test_every_panel_can_be_drawn(watching: str) -> None:
    """None is empty for long; a query that cannot be parsed is an error at once."""
    for board in dashboards():
        for panel in board.panels:
            for target in panel.targets:
                eventually(functools.partial(_find, watching, target.expr))


def test_what_is_on_record(watching: str) -> None:
    """Of the world's rollout, monitor, runs and features, as Prometheus has it."""
    watermark = ago().timestamp()
    told = {
        'learnloop_serving_version{label="stable"}': 1,
        'learnloop_serving_version{label="canary"}': 3,
        "learnloop_serving_canary_weight": 0.1,
        "learnloop_champion_version": 1,
        'time() - learnloop_serving_last_move_timestamp_seconds{move="stop"} < bool 600': 1,
        "time() - learnloop_champion_since_timestamp_seconds < bool 600": 1,
        "time() - learnloop_monitor_made_timestamp_seconds < bool 600": 1,
        f'learnloop_monitor_predictions{{model="{exams.MODEL}"}}': exams.ROWS,
        "learnloop_monitor_needs_retraining": 0,
        "count(learnloop_monitor_features_distance_bits)": 2,
        'learnloop_runs{pipeline="watching",model="exams",status="done"}': 2,
        'learnloop_steps{pipeline="watching",step="monitor",status="cached"}': 1,
        'learnloop_features_watermark_timestamp_seconds{view="activity",store="SQLite"}': watermark,
        'learnloop_disk_free_bytes{place="home"} < bool learnloop_disk_size_bytes': 1,
    }
    for query, value in told.items():
        (found,) = eventually(functools.partial(_find, watching, query))
        assert float(found["value"][1]) == pytest.approx(value), query


def test_no_figure_names_a_learner_or_a_run(watching: str) -> None:
    values = {
        value
        for series in ask(watching, "series", **{"match[]": '{job=~".+"}'})
        for value in series.values()
    }
    assert "p-1" not in values
    assert not {value for value in values if "watching-" in value or "~" in value}
    assert {"watching", "exams", "activity", MODEL} <= values


def test_what_is_wrong_fires_and_the_rest_does_not(watching: str) -> None:
    def firing() -> set[str]:
        alerts = ask(watching, "alerts")["alerts"]
        return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}

    wrong = {
        "RunsCannotStart", "DeadLetters", "PipelineFailed", "PipelineRefused",
    }  # fmt: skip
    eventually(lambda: wrong <= firing())
    well = {
        "ServingErrorsBurnFast",
        "CanaryStopped",
        "RunStuck",
        "PipelineOverdue",
        "CollectorLags",
    }
    assert not well & firing()


class Listening(ThreadingHTTPServer):
    """Notes what it is asked, and whether the asker shows a token.

    Args:
        certificate: What it shows; None for no TLS.
    """

    daemon_threads = True

    def __init__(self, certificate: trustme.LeafCert | None = None) -> None:
        self.heard: queue.Queue[tuple[str, str | None, bytes]] = queue.Queue()
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                heard.put((self.path, self.headers["Authorization"], body))
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()

        super().__init__(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """Listen for the length of a ``with`` block; give the port."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        yield self.server_port
        self.shutdown()


def test_a_server_that_dies_is_paged(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_version(models / MODEL, 1)
    pager, switch = Listening(), Listening()
    with (
        pager.running() as pages,
        switch.running() as beats,
        embedded_server(models, tmp_path / "server.log") as server,
        alertmanager(
            tmp_path,
            f"http://127.0.0.1:{pages}/alerts",
            f"http://127.0.0.1:{beats}/heartbeat",
            "a token",
        ) as alerts,
        prometheus(
            tmp_path,
            {
                "serving.yml": [{"targets": [server.rest_url.partition("://")[2]]}],
                "learnloop.yml": [],
            },
            alerts,
        ) as watching,
    ):

        def state() -> str:
            found = ask(watching, "alerts")["alerts"]
            states = [a["state"] for a in found if a["labels"]["alertname"] == "ServingDown"]
            return states[0] if states else ""

        eventually(lambda: ask(watching, "query", query='up{job="serving"} == 1')["result"])
        eventually(lambda: ask(watching, "alertmanagers")["activeAlertmanagers"])
        eventually(lambda: not state())
        killed = datetime.now(UTC)
        os.killpg(server.process.pid, signal.SIGKILL)
        eventually(lambda: state() == "firing")
        # Hurried, the rule fires too before the first scrape.
        while True:
            _, authorization, body = pager.heard.get(timeout=60)
            page = json.loads(body)
            if datetime.fromisoformat(page["alerts"][0]["startsAt"]) > killed:
                break
        path, beat_authorization, beat = switch.heard.get(timeout=60)
    assert (path, beat_authorization) == ("/heartbeat", "Bearer a token")
    told = json.loads(beat)
    assert [one["labels"]["alertname"] for one in told["alerts"]] == ["Watchdog"]
    assert told["receiver"] == "dead_mans_switch"
    assert authorization == "Bearer a token"
    assert (page["status"], page["receiver"]) == ("firing", "on_call")
    (alert,) = page["alerts"]
    assert alert["labels"] == {"alertname": "ServingDown", "severity": "page"}
    assert alert["annotations"] == {
        "summary": "No model server answers.",
        "runbook": "docs/watching.md#servingdown",
    }


def pod(name: str, app: str, port: int, **changed: str) -> dict[str, Any]:
    """A pod's port as Kubernetes' discovery tells it."""
    meta = {
        "namespace": "learnloop",
        "pod_name": name,
        "pod_phase": "Running",
        "pod_container_port_number": str(port),
        "pod_label_app": app,
        "pod_label_app_kubernetes_io_part_of": "learnloop",
        "pod_annotation_prometheus_io_scrape": "true",
        "pod_annotation_prometheus_io_port": str(port),
        **changed,
    }
    labels = {f"__meta_kubernetes_{name}": value for name, value in meta.items()}
    return {"targets": [f"127.0.0.1:{port}"], "labels": labels}


def test_pods_are_found_and_only_one_kind_is_shown_the_token(tmp_path: Path) -> None:
    authority = trustme.CA()
    embedded = Listening(authority.issue_cert("embedded-server"))
    features = Listening(authority.issue_cert("feature-server"))
    plain = Listening()
    path = {"pod_annotation_prometheus_io_path": "/monitoring/prometheus/metrics"}
    tls = {"pod_annotation_prometheus_io_scheme": "https"}
    with embedded.running() as a, features.running() as b, plain.running() as c:
        pods = [
            pod("a", "embedded-server", a, **path, **tls),
            pod("a-grpc", "embedded-server", a, **tls, pod_annotation_prometheus_io_port="8500"),
            pod("b", "feature-server", b, **tls),
            pod("c", "learnloop-serving", c, **path, pod_label_track="canary"),
            pod("d", "retrain-listener", c),
            pod("e", "retrain-listener", c, pod_annotation_prometheus_io_scrape="false"),
            pod("f", "mlflow", c, pod_label_app_kubernetes_io_part_of="other"),
            pod("g", "event-collector", c, pod_phase="Failed"),
            pod("h", "embedded-server", a, namespace="other", **tls),
            # No certificate of ours: it is refused before the token is shown.
            pod("i", "embedded-server", b, **path, **tls),
        ]
        with prometheus(
            tmp_path,
            {"pods.yml": pods, "rabbitmq.yml": []},
            config="kubernetes.yml",
            secrets={"ca.crt": authority.cert_pem.bytes().decode(), "serving_token": "a token"},
        ) as server:
            eventually(lambda: len(ask(server, "query", query="up")["result"]) == 5)
            found = ask(server, "targets", state="active")["activeTargets"]
    pages = "/monitoring/prometheus/metrics"
    assert {one["labels"].pop("instance"): (one["scrapeUrl"], one["labels"]) for one in found} == {
        "a": (f"https://127.0.0.1:{a}{pages}", {"job": "serving", "app": "embedded-server"}),
        "b": (f"https://127.0.0.1:{b}/metrics", {"job": "features", "app": "feature-server"}),
        "c": (
            f"http://127.0.0.1:{c}{pages}",
            {"job": "serving", "app": "learnloop-serving", "track": "canary"},
        ),
        "d": (f"http://127.0.0.1:{c}/metrics", {"job": "listener", "app": "retrain-listener"}),
        "i": (f"https://127.0.0.1:{b}{pages}", {"job": "serving", "app": "embedded-server"}),
    }
    assert {said for _, said, _ in embedded.heard.queue} == {"Bearer a token"}
    assert {said for _, said, _ in [*features.heard.queue, *plain.heard.queue]} == {None}
