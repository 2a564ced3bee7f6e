"""The canary's share where a gateway deals it out: callers who name no label, on Kubernetes.

Servers come in two Deployments, which have the version of one label each (``models.stable.config``
and ``models.canary.config``). An ``HTTPRoute`` of the Gateway API in front of their Services weighs
them as the rollout says. (https://gateway-api.sigs.k8s.io/reference/spec/#httproute)
"""

from __future__ import annotations

import re
from typing import Any

from serving.state import CANARY, STABLE, ModelRollout

REST_PORT = 8501
PARTS = 10_000
"""Weights of a route are whole numbers."""


def weighted_route(name: str, model: ModelRollout, gateway: str, service: str) -> dict[str, Any]:
    """Describe the route of a model's callers as the rollout has it now.

    Args:
        name: The model's name.
        model: How far its versions are rolled out.
        gateway: The Gateway that the route is attached to.
        service: What the names of both Services begin with, before ``-stable`` and ``-canary``.

    Returns:
        An ``HTTPRoute``, for ``kubectl apply``.
    """
    to_canary = 0 if model.canary is None else round(model.weight * PARTS)
    weights = {STABLE: PARTS - to_canary, CANARY: to_canary}
    path = f"/v1/models/{name}"
    paths = (path, *(f"{path}{end}" for end in (":predict", ":classify", ":regress", "/metadata")))
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": f"learnloop-{_as_object_name(name)}"},
        "spec": {
            "parentRefs": [{"name": gateway}],
            "rules": [
                {
                    "matches": [{"path": {"type": "Exact", "value": one}} for one in paths],
                    "backendRefs": [
                        {"name": f"{service}-{label}", "port": REST_PORT, "weight": weight}
                        for label, weight in weights.items()
                    ],
                }
            ],
        },
    }


def _as_object_name(name: str) -> str:
    """What Kubernetes takes as a name: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
