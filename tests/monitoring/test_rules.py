"""The rules and what they do, by promtool; every alert fires, stays silent, and has its place."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring.shipped import PROMETHEUS, ROOT, read, replaced_discovery, rules

ALWAYS_FIRES = "Watchdog"
GUIDE = ROOT / "docs" / "watching.md"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
ALERTS = sorted(rule["alert"] for rule in rules("alert"))


def promtool(*words: str | Path, where: Path = PROMETHEUS) -> str:
    done = subprocess.run(
        ["promtool", *words], cwd=where, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_of_a_laptop() -> None:
    told = promtool("check", "config", "prometheus.yml")
    assert "SUCCESS: prometheus.yml is valid prometheus config file syntax" in told
    assert "SUCCESS: 5 rule files found" in told


def test_the_configuration_of_a_cluster(tmp_path: Path) -> None:
    """All but the discovery itself, which Debian's build does not know."""
    shutil.copytree(PROMETHEUS, tmp_path / "copy")
    (tmp_path / "copy" / "secrets").mkdir()
    for name in ("ca.crt", "serving_token"):
        (tmp_path / "copy" / "secrets" / name).touch()
    document = replaced_discovery(read(PROMETHEUS / "kubernetes.yml"))
    (tmp_path / "copy" / "kubernetes.yml").write_text(yaml.safe_dump(document))
    told = promtool("check", "config", "kubernetes.yml", where=tmp_path / "copy")
    assert "SUCCESS: kubernetes.yml is valid prometheus config file syntax" in told
    assert "SUCCESS: 6 rule files found" in told
    laptop = read(PROMETHEUS / "prometheus.yml")
    rabbitmq = [one for one in laptop["scrape_configs"] if one["job_name"] == "rabbitmq"]
    assert [one for one in document["scrape_configs"] if "rabbitmq" in one["job_name"]] == rabbitmq


def test_what_the_rules_do() -> None:
    told = promtool("test", "rules", *TESTS)
    assert told.count("SUCCESS") == len(TESTS)


def test_every_alert_is_seen_to_fire_and_to_be_silent() -> None:
    fires, silent = set(), set()
    for path in TESTS:
        for group in read(path)["tests"]:
            for case in group["alert_rule_test"]:
                (fires if case.get("exp_alerts") else silent).add(case["alertname"])
    assert sorted(fires) == ALERTS
    assert sorted({*silent, ALWAYS_FIRES}) == ALERTS


def test_every_alert_has_its_place_in_the_guide() -> None:
    headings = re.findall(r"^### (\w+)$", GUIDE.read_text(), re.MULTILINE)
    assert sorted(headings) == ALERTS
    for rule in rules("alert"):
        assert rule["annotations"]["runbook"] == f"docs/watching.md#{rule['alert'].lower()}"
        assert rule["labels"] == {"severity": rule["labels"]["severity"]}
        assert rule["labels"]["severity"] in {"page", "ticket", "info", "heartbeat"}


def test_what_a_cluster_is_expected_to_run_is_deployed() -> None:
    """By the apps of all Deployments that ask to be scraped, and the jobs that they become."""
    deployed = {
        document["spec"]["template"]["metadata"]["labels"]["app"]
        for path in (ROOT / "kubernetes" / "base").rglob("*.yaml")
        for document in yaml.safe_load_all(path.read_text())
        if isinstance(document, dict)
        and document["kind"] == "Deployment"
        and "prometheus.io/scrape"
        in document["spec"]["template"]["metadata"].get("annotations", {})
    }
    jobs = {}
    for scraping in read(PROMETHEUS / "kubernetes.yml")["scrape_configs"]:
        for rule in scraping.get("relabel_configs", []):
            if rule.get("source_labels") == ["__meta_kubernetes_pod_label_app"] and "regex" in rule:
                jobs[rule["regex"]] = rule.get("replacement", scraping["job_name"])
    assert set(jobs) == deployed
    expected = "".join(
        rule["expr"]
        for group in read(PROMETHEUS / "rules" / "kubernetes" / "expected.yml")["groups"]
        for rule in group["rules"]
    )
    named = re.findall(r'job="(\w+)"(?:,app="([\w-]+)")?', expected)
    assert sorted(job for job, _ in named) == sorted(jobs.values())
    assert {(app, job) for job, app in named if app} <= set(jobs.items())


def test_pipelines_are_due_as_their_dags_say() -> None:
    """A pipeline that a schedule runs is overdue one day, and no other is."""
    due: dict[str, Any] = {
        rule["labels"]["pipeline"]: rule["expr"]
        for rule in rules("record")
        if rule["record"] == "pipeline:run_due_seconds"
    }
    scheduled = {
        name
        for path in (ROOT / "dags").glob("*.py")
        for name in re.findall(
            r"= airflow_dag\(\n\s+(\w+),\n.*?schedule=\S", path.read_text(), re.S
        )
        if "schedule=asset_of" not in path.read_text()
    }
    assert set(due) == scheduled
