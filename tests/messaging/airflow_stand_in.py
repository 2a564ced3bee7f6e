"""A small real HTTP server that answers as Airflow's REST API does, and fails when it is told to.

It stands in for Airflow where that would be killed dozens of times. What it has answered 200 to, it
has appended to a file before, so that a kill forgets no run, as Airflow's database does not.

Run it: ``python -m tests.messaging.airflow_stand_in PORT FOLDER [SHARE]``; every so-manyth request
fails in one of several ways.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PATH = re.compile(r"/api/v2/dags/(?P<dag>[^/]+)/dagRuns(/(?P<run>[^/]+))?")
RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]+")
USER, PASSWORD = "listener", "secret"
UNKNOWN = "unknown"
"""The beginning of the names of DAGs that are not there."""


class AirflowStandIn(ThreadingHTTPServer):
    """Answers as Airflow does.

    Args:
        port: Its port; 0 for any.
        folder: Where the runs are kept.
        share: One request in so many fails; 0 for none.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, folder: Path, share: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.file = folder / "runs.jsonl"
        self.share = share
        self.lock = threading.Lock()
        self.tokens: set[str] = set()
        self.requests: list[tuple[str, str, int]] = []
        self.faults: list[str] = []
        self.asked = 0
        self.invalid = 401
        self.runs = {(run["dag"], run["id"]): run for run in read_runs(folder)}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def next_fault(self) -> str:
        """What shall happen to the next request, "" for nothing."""
        with self.lock:
            if self.faults:
                return self.faults.pop(0)
            self.asked += 1
            if not self.share or self.asked % self.share:
                return ""
            kinds = ("500", "lost answer", "401", "503")
            return kinds[self.asked // self.share % len(kinds)]


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Every run that was made, in order."""
    file = folder / "runs.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


class _Handler(BaseHTTPRequestHandler):
    server: AirflowStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(size) or b"{}")
        if self.path == "/auth/token":
            self._answer(*self._token(body))
            return
        fault = self.server.next_fault()
        if fault in ("400", "500", "503"):
            self._answer(int(fault), {"detail": "a fault"})
            return
        if fault in ("401", "403"):
            self.server.tokens.clear()
            self.server.invalid = int(fault)
        answer = self._runs(body)
        if fault == "lost answer":
            self.close_connection = True
            self.connection.close()
            return
        self._answer(*answer)

    do_GET = do_POST = _handle  # noqa: N815  # the names that http.server calls

    def _token(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        if (body.get("username"), body.get("password")) != (USER, PASSWORD):
            return 401, {"detail": "Invalid credentials"}
        token = os.urandom(8).hex()
        self.server.tokens.add(token)
        return 201, {"access_token": token}

    def _runs(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.server.tokens:
            return self.server.invalid, {"detail": "Invalid JWT token"}
        found = PATH.fullmatch(self.path)
        if found is None or found["dag"].startswith(UNKNOWN):
            return 404, {"detail": "The Dag was not found"}
        if self.command == "GET":
            run = self.server.runs.get((found["dag"], found["run"] or ""))
            return (200, run) if run else (404, {"detail": "The DagRun was not found"})
        return self._make(found["dag"], body)

    def _make(self, dag: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        if "logical_date" not in body or not RUN_ID.fullmatch(body.get("dag_run_id", "")):
            return 422, {"detail": [{"msg": "Field required"}]}
        if body["conf"].get("share") == "a lot":
            return 400, {"detail": "Invalid input for param share: 'a lot' is not a number"}
        if len(body["note"]) > 1000:
            return 500, {"detail": "value too long for type character varying(1000)"}
        names = {"dag": dag, "id": body["dag_run_id"]}
        run = {**names, "conf": body["conf"], "note": body["note"]}
        with self.server.lock:
            if (dag, run["id"]) in self.server.runs:
                return 409, {"detail": "The DagRun already exists"}
            with self.server.file.open("a") as file:
                file.write(json.dumps(run) + "\n")
            self.server.runs[dag, run["id"]] = run
        return 200, {"dag_run_id": run["id"], "state": "queued"}

    def _answer(self, status: int, document: Any) -> None:
        self.server.requests.append((self.command, self.path, status))
        content = json.dumps(document).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    AirflowStandIn(
        int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else 0
    ).serve_forever(0.05)
