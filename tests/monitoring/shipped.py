"""What is shipped in ``monitoring/``, with the times and addresses of a test."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.servers import free_port, running

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "monitoring"
PROMETHEUS = SHIPPED / "prometheus"
RULES = sorted((PROMETHEUS / "rules").rglob("*.yml"))
Targets = Mapping[str, list[dict[str, Any]]]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules that are an ``alert``, or that ``record``."""
    groups = [group for path in RULES for group in read(path)["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def eventually(find: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait until something is found, and give it."""
    until = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < until, f"it did not come about in time: {find}"
        time.sleep(0.1)
    return found


def ask(server: str, path: str, **parameters: str) -> Any:
    """Ask Prometheus's API; give its data."""
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{server}/api/v1/{path}?{query}", timeout=60) as answer:
        return json.loads(answer.read())["data"]


@contextlib.contextmanager
def prometheus(
    folder: Path,
    targets: Targets,
    alertmanager: str = "",
    config: str = "prometheus.yml",
    secrets: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Run a real Prometheus on the shipped configuration, hurried and with other targets.

    Args:
        folder: Where a copy of the configuration and the data go.
        targets: What each file of ``targets/`` says in the test.
        alertmanager: The address of one.
        config: The configuration's file.
        secrets: What the files of ``secrets/`` hold.
    """
    place = folder / "prometheus"
    shutil.copytree(PROMETHEUS, place)
    (place / "secrets").mkdir()
    for name, secret in (secrets or {}).items():
        (place / "secrets" / name).write_text(secret)
    for name, groups in targets.items():
        (place / "targets" / name).write_text(yaml.safe_dump(groups))
    document = read(place / config)
    document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    found = [alertmanager] if alertmanager else []
    document["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = found
    (place / config).write_text(yaml.safe_dump(replaced_discovery(document)))
    for path in (place / "rules").rglob("*.yml"):
        hurried = read(path)
        for group in hurried["groups"]:
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = "1s"
        path.write_text(yaml.safe_dump(hurried, allow_unicode=True))
    port = free_port()
    command = [
        *("prometheus", f"--config.file={place / config}"),
        *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    with running(command, port, folder / "prometheus.log"):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _is_ready(url))
        yield url


def _is_ready(server: str) -> bool:
    """Whether it answers questions, which it does some time after its port is open."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{server}/-/ready", timeout=60):
        return True
    return False


def replaced_discovery(document: dict[str, Any]) -> dict[str, Any]:
    """Read pods from a file: Debian's build of Prometheus cannot ask Kubernetes."""
    for scraping in document["scrape_configs"]:
        if scraping.pop("kubernetes_sd_configs", None):
            scraping["file_sd_configs"] = [{"files": ["targets/pods.yml"]}]
    return document


@contextlib.contextmanager
def alertmanager(folder: Path, pager: str, switch: str, token: str) -> Iterator[str]:
    """Run a real Alertmanager on the shipped configuration, hurried and asking others.

    Args:
        folder: Where a copy of the configuration and the data go.
        pager: The URL that pages go to.
        switch: The URL of the dead man's switch.
        token: What both ask for.
    """
    document = read(SHIPPED / "alertmanager" / "alertmanager.yml")
    document["route"]["routes"][0] |= {"group_wait": "100ms", "group_interval": "1s"}
    receivers = {one["name"]: one for one in document["receivers"]}
    receivers["on_call"]["webhook_configs"][0]["url"] = pager
    receivers["dead_mans_switch"]["webhook_configs"][0]["url"] = switch
    receivers["team"].pop("email_configs")
    (folder / "secrets").mkdir()
    for name in ("pager_token", "heartbeat_token"):
        (folder / "secrets" / name).write_text(token)
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(document))
    port = free_port()
    command = [
        *("prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}"),
        *(f"--storage.path={folder / 'alerts'}", f"--web.listen-address=127.0.0.1:{port}"),
        "--cluster.listen-address=",
    ]
    with running(command, port, folder / "alertmanager.log"):
        yield f"127.0.0.1:{port}"
