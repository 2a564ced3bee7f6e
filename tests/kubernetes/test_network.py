"""Who may reach whom: what the policies allow is what the workloads' settings need, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.kubernetes.rendered import OVERLAYS, Document, Workload, objects, workloads

PORTS = {
    "LEARNLOOP_LEDGER": 5432,
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": 5432,
    "MLFLOW_BACKEND_STORE_URI": 5432,
    "LEARNLOOP_RABBITMQ": 5671,
    "LEARNLOOP_KAFKA_BOOTSTRAP_SERVERS": 9096,
    "LEARNLOOP_FEATURES_ONLINE": 6379,
    "LEARNLOOP_STORE": 443,
}
"""Where each setting leads, outside the cluster."""

WITHIN = {
    ("airflow-task", "mlflow", 5000),
    ("console", "mlflow", 5000),
    ("airflow-task", "airflow-api-server", 8080),
    ("retrain-listener", "airflow-api-server", 8080),
}
FROM_ELSEWHERE = {
    ("envoy-gateway-system", "learnloop-serving-stable", 8501),
    ("envoy-gateway-system", "learnloop-serving-canary", 8501),
    ("learnloop-client", "embedded-server", 8501),
    ("learnloop-client", "embedded-server", 8500),
    ("learnloop-client", "feature-server", 6566),
    ("monitoring", "learnloop-serving-stable", 8501),
    ("monitoring", "learnloop-serving-canary", 8501),
    ("monitoring", "embedded-server", 8501),
    ("monitoring", "feature-server", 6566),
    ("monitoring", "retrain-listener", 9463),
    ("monitoring", "event-collector", 9310),
    ("monitoring", "learnloop-metrics", 9464),
}
NAMESPACES = {
    "envoy-gateway-system": {"kubernetes.io/metadata.name": "envoy-gateway-system"},
    "learnloop-client": {"kubernetes.io/metadata.name": "school", "learnloop-client": "true"},
    "monitoring": {"kubernetes.io/metadata.name": "monitoring"},
    "anybody": {"kubernetes.io/metadata.name": "default"},
}


def matches(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects, as far as the policies use them."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", ())
    assert all(one["operator"] == "In" for one in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )


def rules(overlay: str, direction: str, one: Workload) -> list[dict[str, Any]]:
    """The rules of a pod in a direction; no policy at all would allow everything."""
    selected = [
        document["spec"]
        for document in objects(overlay)
        if document["kind"] == "NetworkPolicy"
        and direction in document["spec"]["policyTypes"]
        and matches(document["spec"]["podSelector"], one.labels)
    ]
    assert selected
    return [rule for spec in selected for rule in spec.get(direction.lower(), ())]


def numbers(rule: Document, to: Workload) -> set[int]:
    """The ports of a rule, whose names are those of the pod that is reached."""
    named = {port["name"]: port["containerPort"] for port in to.main.get("ports", ())}
    found = {named.get(port["port"], port["port"]) for port in rule["ports"]}
    return {number for number in found if isinstance(number, int)}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize(("direction", "peers"), [("Egress", "to"), ("Ingress", "from")])
def test_pods_reach_the_pods_that_they_ask(overlay: str, direction: str, peers: str) -> None:
    """Each side says so by itself: whom a pod may ask, and by whom it may be asked."""
    found = set()
    for caller in workloads(overlay):
        for to in workloads(overlay):
            here, there = (caller, to) if direction == "Egress" else (to, caller)
            found |= {
                (caller.name, to.name, number)
                for rule in rules(overlay, direction, here)
                for peer in rule[peers]
                if "podSelector" in peer and matches(peer["podSelector"], there.labels)
                for number in numbers(rule, to)
            }
    assert found == WITHIN


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_other_namespaces_reach_what_is_for_them(overlay: str) -> None:
    found = {
        (namespace, to.name, number)
        for namespace, labels in NAMESPACES.items()
        for to in workloads(overlay)
        for rule in rules(overlay, "Ingress", to)
        for peer in rule["from"]
        if "namespaceSelector" in peer and matches(peer["namespaceSelector"], labels)
        for number in numbers(rule, to)
        if number in {port["containerPort"] for port in to.main["ports"]}
    }
    assert found == FROM_ELSEWHERE


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_leave_the_cluster_for_what_their_settings_name(overlay: str) -> None:
    for one in workloads(overlay):
        environment = {name for container in one.containers for name in one.environment(container)}
        needed = {PORTS[name] for name in environment & PORTS.keys()}
        if one.name in ("airflow-scheduler", "airflow-api-server"):
            needed |= {443, 6443}  # Kubernetes itself
        if one.name == "mlflow":
            needed |= {443}  # MLFLOW_ARTIFACTS_DESTINATION
        outside = [
            (peer["ipBlock"], port["port"])
            for rule in rules(overlay, "Egress", one)
            for peer in rule["to"]
            if "ipBlock" in peer
            for port in rule["ports"]
        ]
        assert {port for _, port in outside} == needed, one.name
        for block, port in outside:
            assert block["cidr"].startswith(("10.", "172.16.")) or (
                port == 443 and block["except"] == ["169.254.0.0/16"]
            )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_unknown_pod_reaches_nothing_but_names(overlay: str) -> None:
    stranger = Workload("Pod", "stranger", {"app": "stranger"}, {}, objects(overlay))
    assert rules(overlay, "Ingress", stranger) == []
    (names,) = rules(overlay, "Egress", stranger)
    assert {port["port"] for port in names["ports"]} == {53}
