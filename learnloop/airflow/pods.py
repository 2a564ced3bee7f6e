"""The pod of a task: as large as its component says, where pods run tasks (KubernetesExecutor).

Everything else of the pod is in the template that Airflow is given (``kubernetes/``). The client
of Kubernetes is imported in such a deployment only: with another executor no DAG file pays for it.
"""

from __future__ import annotations

from typing import Any

from learnloop.component import Resources

CONTAINER = "base"
"""The container in which Airflow runs the task."""


def executor_config(resources: Resources) -> dict[str, Any]:
    """Tell the executor what a task needs.

    Memory is requested and is the limit: a step that needs more ends alone, and not with its
    neighbours. Cores are requested and not limited, so that a step may use what lies idle.

    Args:
        resources: What the component, or the pipeline for this step, declares.

    Returns:
        Airflow's ``executor_config``; empty where no pods run tasks.
    """
    from airflow.sdk.configuration import conf

    if "KubernetesExecutor" not in conf.get("core", "executor"):
        return {}
    from kubernetes.client import models

    memory = f"{round(resources.memory_gib * 1024)}Mi"
    needs = models.V1ResourceRequirements(
        requests={"cpu": f"{round(resources.cpus * 1000)}m", "memory": memory},
        limits={"memory": memory},
    )
    container = models.V1Container(name=CONTAINER, resources=needs)
    return {"pod_override": models.V1Pod(spec=models.V1PodSpec(containers=[container]))}
