"""A task's pod is as large as its component says, in the pod that Airflow itself puts together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from airflow.providers.cncf.kubernetes import pod_generator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk import BaseOperator
from airflow.serialization.serialized_objects import DagSerialization
from kubernetes.client import models

from learnloop.airflow.dag import airflow_dag
from learnloop.pipeline import pipeline
from tests.learnloop import steps

BASE = Path(__file__).parents[3] / "kubernetes" / "base"
TEMPLATE = BASE / "airflow" / "pod-template.yaml"
ACCOUNTS = BASE / "accounts.yaml"


@pipeline
def sized() -> None:
    """Two steps of different sizes."""
    steps.total([steps.make.needing(cpus=2.5, memory_gib=6.5)().number])


def pod_of(task: BaseOperator) -> models.V1Pod:
    """The pod that the executor would ask Kubernetes for."""
    return PodGenerator.construct_pod(
        dag_id="sized",
        task_id=task.task_id,
        pod_id="sized-task",
        try_number=1,
        kube_image=None,  # type: ignore[arg-type]  # what the executor gives: the template's stays
        date=None,
        args=["python", "-m", "airflow.sdk.execution_time.execute_workload"],
        pod_override_object=PodGenerator.from_obj(task.executor_config),
        base_worker_pod=PodGenerator.deserialize_model_file(str(TEMPLATE)),
        namespace="school",
        scheduler_job_id="1",
    )


def test_accounts_may_do_what_the_executor_does_and_no_more() -> None:
    """Every call of Kubernetes' API in the executor's own text, beside the role's rules."""
    executor = Path(str(pod_generator.__file__)).parent
    sources = [*executor.glob("executors/*.py"), executor / "pod_generator.py"]
    text = "".join(source.read_text() for source in sources)
    called = set(re.findall(r"\.(list|create|read|patch|delete)_namespaced_(\w+)", text))
    documents = yaml.safe_load_all(ACCOUNTS.read_text())
    roles = [one for one in documents if one["kind"] == "Role"]  # the web server reads logs
    allowed = {
        (verb, resource)
        for role in roles
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    resources = {"pod": "pods", "pod_log": "pods/log"}
    needed = {("get" if verb == "read" else verb, resources[name]) for verb, name in called}
    assert allowed == needed | {("watch", "pods")}


def test_no_other_executor_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    assert [task.executor_config for task in airflow_dag(sized).tasks] == [{}, {}]


@pytest.mark.parametrize("executor", ["KubernetesExecutor", "LocalExecutor,KubernetesExecutor"])
def test_a_pod_has_what_its_component_declares(
    executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    document = json.loads(json.dumps(DagSerialization.serialize_dag(airflow_dag(sized))))
    dag = DagSerialization.deserialize_dag(document)
    found = {name: pod_of(task) for name, task in dag.task_dict.items()}
    needs = {name: pod.spec.containers[0].resources for name, pod in found.items()}
    assert {name: (one.requests, one.limits) for name, one in needs.items()} == {
        "make": ({"cpu": "2500m", "memory": "6656Mi"}, {"memory": "6656Mi"}),
        "total": ({"cpu": "1000m", "memory": "2048Mi"}, {"memory": "2048Mi"}),
    }


def test_the_rest_of_the_pod_is_the_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    pod = pod_of(airflow_dag(sized).get_task("make"))
    (container,) = pod.spec.containers
    assert container.image == "learnloop"
    assert container.args[:2] == ["python", "-m"] and container.command is None
    assert container.security_context.read_only_root_filesystem is True
    assert pod.spec.security_context.run_as_non_root is True
    assert pod.spec.service_account_name == "learnloop"
    assert pod.metadata.labels["to-airflow-api-server"] == "true"
    mounts = {mount.mount_path for mount in container.volume_mounts}
    assert {"/opt/learnloop/learnloop.toml", "/models", "/var/lib/learnloop"} < mounts
