"""What kubectl makes of the overlays, read as pods with the environment they would have."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("staging", "production")
SECRET = "a-secret"
"""Stands for the value of a secret."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """The pods of a Deployment or a job, or the pods of Airflow's tasks."""

    kind: str
    name: str
    labels: Mapping[str, str]
    pod: Document
    objects: tuple[Document, ...]

    @property
    def containers(self) -> list[Document]:
        """Those of the pod, and those that run before them."""
        return [*self.pod["containers"], *self.pod.get("initContainers", ())]

    @property
    def main(self) -> Document:
        """The container that does the work."""
        (container,) = self.pod["containers"]
        return dict(container)

    def environment(self, container: Document) -> dict[str, str]:
        """What a container has in its environment; what does not exist is an error."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            if "configMapRef" in source:
                found |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
            else:
                spec = self.one("ExternalSecret", source["secretRef"]["name"])["spec"]
                found |= {entry["secretKey"]: SECRET for entry in spec["data"]}
        for entry in container.get("env", ()):
            field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            label = re.fullmatch(r"metadata\.labels\['(.+)'\]", field)
            found[entry["name"]] = (
                self.labels[label[1]] if label else entry.get("value", "learnloop")
            )
        return found

    def words(self, container: Document) -> list[str]:
        """The container's command line, with its variables put in as Kubernetes does."""
        environment = self.environment(container)
        return [
            re.sub(r"\$\((\w+)\)", lambda name: environment[name[1]], word)
            for word in (*container.get("command", ()), *container.get("args", ()))
        ]

    def one(self, kind: str, name: str) -> Document:
        """The object of a name."""
        (found,) = (
            one for one in self.objects if (one["kind"], one["metadata"]["name"]) == (kind, name)
        )
        return found


@functools.cache
def objects(overlay: str) -> tuple[Document, ...]:
    """Render an overlay."""
    if shutil.which("kubectl") is None:
        assert not os.environ.get("CI"), "CI needs kubectl, of Kubernetes 1.30 or later"
        pytest.skip("kubectl is not installed: https://kubernetes.io/docs/tasks/tools/")
    done = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "kubernetes" / "overlays" / overlay)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


@functools.cache
def workloads(overlay: str) -> tuple[Workload, ...]:
    """Everything of an overlay that makes pods."""
    return tuple(_workloads(objects(overlay)))


def workload(name: str) -> Workload:
    """One of production's."""
    (found,) = (one for one in workloads("production") if one.name == name)
    return found


def _workloads(found: tuple[Document, ...]) -> Iterator[Workload]:
    for one in found:
        name = one["metadata"]["name"]
        if one["kind"] in ("Deployment", "Job"):
            template = one["spec"]["template"]
            yield Workload(
                one["kind"], name, template["metadata"]["labels"], template["spec"], found
            )
        elif name == "airflow-pod-template":
            pod = yaml.safe_load(one["data"]["pod-template.yaml"])
            labels = pod["metadata"]["labels"]
            yield Workload("Pod", "airflow-task", labels, pod["spec"], found)
