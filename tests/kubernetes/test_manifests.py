"""What is applied: valid, complete, as closed as can be, and ended no sooner than the code ends."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from feature_store.store import FeatureStore
from learnloop.settings import Settings
from messaging.listener.airflow import TIMEOUT_SECONDS
from messaging.policy.settings import read_policies
from serving.configs import BATCHING, MONITORING, TRACKS
from serving.gateway import REST_PORT
from tests.kubernetes.rendered import OVERLAYS, ROOT, objects, workload, workloads

KUBERNETES = "1.34"
SOURCES = re.compile(r'"source": "([^"]+)"')
OF_OPERATORS = {
    "ExternalSecret": "external-secrets.io/v1",
    "Certificate": "cert-manager.io/v1",
    "Gateway": "gateway.networking.k8s.io/v1",
}
"""Kinds that operators bring, whose schemas the validator does not have."""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_document_is_what_kubernetes_takes(overlay: str) -> None:
    for document in objects(overlay):
        if document["kind"] in OF_OPERATORS:
            assert document["apiVersion"] == OF_OPERATORS[document["kind"]]
            continue
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "learnloop"
    pod = workload("airflow-task").one("ConfigMap", "airflow-pod-template")["data"]
    kubernetes_validate.validate(yaml.safe_load(pod["pod-template.yaml"]), KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_is_restricted(overlay: str) -> None:
    """The Pod Security Standard "restricted", and a file system that nobody can write to."""
    for one in workloads(overlay):
        assert one.pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert one.pod["enableServiceLinks"] is False
        asks_kubernetes = one.name in ("airflow-scheduler", "airflow-api-server")
        assert one.pod.get("automountServiceAccountToken", False) is asks_kubernetes
        account = one.one("ServiceAccount", one.pod["serviceAccountName"])
        assert account["automountServiceAccountToken"] is False
        role = account["metadata"].get("annotations", {}).get("eks.amazonaws.com/role-arn", "")
        in_cloud = account["metadata"]["name"] != "airflow-scheduler"
        assert role.endswith(f"-{account['metadata']['name']}") if in_cloud else not role
        for container in one.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            resources = container["resources"]
            assert resources["requests"].keys() == {"cpu", "memory"}
            assert "memory" in resources["limits"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_pod_names_exists(overlay: str) -> None:
    for one in workloads(overlay):
        volumes = {volume["name"]: volume for volume in one.pod["volumes"]}
        mounted = set()
        for container in one.containers:
            one.words(container)
            for mount in container["volumeMounts"]:
                mounted.add(mount["name"])
                configs = volumes[mount["name"]].get("configMap")
                if configs and "subPath" in mount:
                    assert mount["subPath"] in one.one("ConfigMap", configs["name"])["data"]
        assert mounted == volumes.keys()
        made = {c["spec"]["secretName"] for c in one.objects if c["kind"] == "Certificate"}
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                one.one("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
            elif "secret" in volume:
                assert volume["secret"]["secretName"] in made
            else:
                assert "emptyDir" in volume or one.one("ConfigMap", volume["configMap"]["name"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_agree(overlay: str) -> None:
    """One image of ours, which the pods of tasks have too, and none that is whatever is newest."""
    found = set()
    for one in workloads(overlay):
        images = {container["image"] for container in one.containers}
        assert one.name.startswith("learnloop-serving-") == bool(
            images & {"tensorflow/serving:2.16.1"}
        )
        found |= images
        # Airflow would put its own in place of the template's.
        assert not any(
            "WORKER_CONTAINER" in name for c in one.containers for name in one.environment(c)
        )
    (ours,) = found - {"tensorflow/serving:2.16.1"}
    assert re.fullmatch(r".+/.+(:(?!latest)[^/]+|@sha256:\w+)", ours)


def test_a_registry_may_have_a_port_and_an_image_a_digest(tmp_path: Path) -> None:
    """The tasks' image is put into a text, their template."""
    shutil.copytree(ROOT / "kubernetes", tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes" / "overlays" / "production"
    settings = overlay / "kustomization.yaml"
    document = yaml.safe_load(settings.read_text())
    digest = f"sha256:{'7d' * 32}"
    (ours,) = (one for one in document["images"] if one["name"] == "learnloop")
    ours.update(newName="registry.example.org:5000/learnloop", digest=digest)
    del ours["newTag"]
    settings.write_text(yaml.safe_dump(document))
    (one,) = (one for one in workloads(str(overlay)) if one.name == "airflow-task")
    assert one.main["image"] == f"registry.example.org:5000/learnloop@{digest}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_is_for_the_inside_and_has_a_certificate(overlay: str) -> None:
    (gateway,) = (one["spec"] for one in objects(overlay) if one["kind"] == "Gateway")
    assert gateway["infrastructure"]["annotations"] == {
        "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
        "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
    }
    (listener,) = gateway["listeners"]
    names = {
        one["spec"]["secretName"]: one["spec"]["dnsNames"]
        for one in objects(overlay)
        if one["kind"] == "Certificate"
    }
    (certificate,) = listener["tls"]["certificateRefs"]
    assert names[certificate["name"]] == [listener["hostname"]]
    assert listener["hostname"] == f"predictions.{overlay}.internal"


def test_servers_write_to_nothing_that_is_not_theirs() -> None:
    """Of the shared volume and the models; the others only read, or neither."""
    written = {
        (one.name, mount["name"], mount.get("subPath", "/"))
        for one in workloads("production")
        if one.pod["serviceAccountName"] == "serving" or one.name == "learnloop-metrics"
        for mount in one.main["volumeMounts"]
        if mount["name"] in ("shared", "models") and not mount.get("readOnly")
    }
    assert written == {("embedded-server", "shared", "predictions")}
    homes = {
        one.name: one.environment(one.main)["LEARNLOOP_HOME"]
        for one in workloads("production")
        if "LEARNLOOP_HOME" in one.environment(one.main)
    }
    assert homes == {"embedded-server": "/tmp/home", "learnloop-metrics": "/tmp/home"}


def test_a_server_of_one_core_does_not_wait_awake() -> None:
    main = workload("embedded-server").main
    assert main["resources"]["requests"]["cpu"] == "1"
    assert "--busy-poll-microseconds=0" in main["args"]


def test_what_is_on_record_is_told_without_the_right_to_change_it() -> None:
    """The newest report of a model is in the store, which the accounts of its role may read."""
    one = workload("learnloop-metrics")
    assert one.pod["serviceAccountName"] == "airflow"
    assert one.environment(one.main)["LEARNLOOP_STORE"].startswith("s3://")
    assert one.main["readinessProbe"] == {"tcpSocket": {"port": "metrics"}}


def test_only_the_scheduler_makes_pods() -> None:
    roles = {
        subject["name"]: binding["roleRef"]["name"]
        for binding in objects("production")
        if binding["kind"] == "RoleBinding"
        for subject in binding["subjects"]
    }
    assert roles == {"airflow-scheduler": "airflow-pods", "airflow": "airflow-logs"}
    assert workload("airflow-api-server").one("Role", "airflow-logs")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]
    accounts = {one.name: one.pod["serviceAccountName"] for one in workloads("production")}
    assert [name for name in accounts if accounts[name] == "airflow-scheduler"] == [
        "airflow-scheduler"
    ]


def test_the_migration_outlasts_the_making_of_its_database() -> None:
    """A container is started again after 10 s, 20 s … 5 minutes."""
    one = workload("airflow-migrate")
    tries = one.one("Job", one.name)["spec"]["backoffLimit"]
    assert sum(min(300, 10 * 2**n) for n in range(tries)) >= 3_600


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_budgets_and_scalers_find_their_pods(overlay: str) -> None:
    found = workloads(overlay)
    for document in objects(overlay):
        kind, spec = document["kind"], document.get("spec", {})
        if kind == "HorizontalPodAutoscaler":
            assert spec["scaleTargetRef"]["name"] in {one.name for one in found}
            continue
        if kind not in ("Service", "PodDisruptionBudget", "Deployment"):
            continue
        selector = spec["selector"] if kind == "Service" else spec["selector"]["matchLabels"]
        (one,) = (one for one in found if selector.items() <= one.labels.items())
        for port in spec.get("ports", ()):
            ports = {port["name"]: port["containerPort"] for port in one.main["ports"]}
            assert ports[port["targetPort"]] == port["port"]


def test_whoever_answers_is_probed_and_outlives_a_drained_node() -> None:
    budgets = {
        o["metadata"]["name"] for o in objects("production") if o["kind"] == "PodDisruptionBudget"
    }
    scaled = {
        o["metadata"]["name"]
        for o in objects("production")
        if o["kind"] == "HorizontalPodAutoscaler"
    }
    for one in workloads("production"):
        if "ports" in one.main:
            assert "livenessProbe" in one.main, one.name
            assert one.name == "airflow-scheduler" or "readinessProbe" in one.main, one.name
            if "httpGet" in (liveness := one.main["livenessProbe"]):
                assert liveness["timeoutSeconds"] >= 5 and "startupProbe" in one.main, one.name
        if one.kind == "Deployment":
            replicas = one.one("Deployment", one.name)["spec"].get("replicas", 1)
            assert (one.name in budgets) == (replicas > 1 or one.name in scaled), one.name
            (spread,) = one.pod["topologySpreadConstraints"]
            assert spread["matchLabelKeys"] == ["app", "track", "pod-template-hash"]


def test_a_pod_is_given_the_time_that_its_end_takes() -> None:
    def seconds_left(name: str) -> float:
        pod = workload(name).pod
        hook = workload(name).main.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        return float(pod["terminationGracePeriodSeconds"] - hook.get("seconds", 0))

    (drain,) = re.findall(
        r"--drain-seconds=(\d+)", " ".join(workload("embedded-server").main["args"])
    )
    assert seconds_left("embedded-server") >= float(drain) + 10  # and writes its log
    assert seconds_left("retrain-listener") >= 10 * TIMEOUT_SECONDS
    assert seconds_left("feature-server") >= 30
    for one in workloads("production"):
        assert seconds_left(one.name) >= (15 if one.name.startswith("learnloop-serving") else 30)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_are_settings(
    overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = next(one for one in workloads(overlay) if one.name == "airflow-task")
    for name, text in task.one("ConfigMap", "learnloop-settings")["data"].items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_STORE", task.environment(task.main)["LEARNLOOP_STORE"])
    settings = Settings()
    assert settings.store_location.startswith("s3://")
    mounts = {mount["mountPath"] for mount in task.main["volumeMounts"]}
    assert str(settings.serving) in mounts
    for folder in (settings.home_folder, settings.events_folder, settings.predictions_folder):
        assert str(folder.parent) in mounts
    assert read_policies(tmp_path / "policies.toml").of("learner_outcome").time_zone == "UTC"
    host, port = re.fullmatch(r"http://(\S+):(\d+)", settings.mlflow).groups()  # type: ignore[union-attr]
    assert task.one("Service", host)["spec"]["ports"][0]["port"] == int(port)


@pytest.mark.parametrize("name", ["airflow-task", "console"])
def test_places_relative_to_the_project_are_on_the_shared_volume(name: str) -> None:
    """What DAGs read and what push sources keep; in the image nothing can be written."""
    named = {
        path for dag in (ROOT / "dags").glob("*.py") for path in SOURCES.findall(dag.read_text())
    }
    views = FeatureStore(Settings()).definitions.stored_views.values()
    named |= {str(view.source.batch_source.path) for view in views}
    mounted = {
        mount["mountPath"]: mount["subPath"]
        for mount in workload(name).main["volumeMounts"]
        if mount["name"] == "shared" and "subPath" in mount
    }
    places = {path.partition("/")[0] for path in named}
    assert places == {"data", "events", "features"}
    assert mounted == {f"/opt/learnloop/{place}": place for place in places}


@pytest.mark.parametrize("label", TRACKS)
def test_each_track_serves_the_version_of_its_label(label: str) -> None:
    one = workload(f"learnloop-serving-{label}")
    told = dict(word.removeprefix("--").split("=", 1) for word in one.words(one.main)[1:])
    assert told["model_config_file"] == f"/models/{TRACKS[label]}"
    assert told["batching_parameters_file"] == f"/models/{BATCHING}"
    assert told["monitoring_config_file"] == f"/models/{MONITORING}"
    assert float(told["model_config_file_poll_wait_seconds"]) == Settings().serving_poll
    assert int(told["rest_api_port"]) == REST_PORT
    service = one.one("Service", one.name)["spec"]
    assert service["selector"].items() <= one.labels.items() and one.labels["track"] == label
    assert REST_PORT in [port["port"] for port in service["ports"]]
