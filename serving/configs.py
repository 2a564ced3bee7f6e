"""The files that TensorFlow Serving, and the embedded server, are started with.

``models.config`` (``ModelServerConfig``) is made anew at every move and read again by running
servers. So are ``models.stable.config`` and ``models.canary.config``, for servers that have one
version of each model: a gateway in front of them may weigh callers who name no label.
``batching.config`` (``BatchingParameters``) and ``monitoring.config``
(``MonitoringConfig``) are read once, when a server starts, and an operator's own are left alone.
The text format of protocol buffers is written by hand because its library takes longer to import
than a move may take; tests parse every file with the real messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

from serving.state import CANARY, STABLE, Rollout, Told

MODELS, BATCHING, MONITORING = "models.config", "batching.config", "monitoring.config"
TRACKS = {STABLE: "models.stable.config", CANARY: "models.canary.config"}
"""By label, the configuration of servers that have the label's version alone."""

ROLLOUT = "rollout.json"

GENERATED = f"# Made from {ROLLOUT} at every move; change it with: learnloop serving\n"

BATCHING_TEXT = """\
# Whatever waits goes as one batch; nothing waits for company.
max_batch_size { value: 128 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 64 }
num_batch_threads { value: 2 }
pad_variable_length_inputs: false
"""

MONITORING_TEXT = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def models_configs(rollout: Rollout, base: str) -> Mapping[str, str]:
    """Write what servers are told now as ``ModelServerConfig`` in text format.

    Args:
        rollout: The document.
        base: The base folder as the server sees it.

    Returns:
        The text by file; equal for equal documents.
    """
    texts = {MODELS: _models_config(rollout, base, lambda told: told)}
    for label, file in TRACKS.items():
        texts[file] = _models_config(rollout, base, partial(_alone, label))
    return texts


def _alone(label: str, told: Told) -> Told:
    """The version of one label, without labels: it may be told before it is loaded."""
    return Told((told.labels[label],) if label in told.labels else told.versions[-1:])


def _models_config(rollout: Rollout, base: str, chosen: Callable[[Told], Told]) -> str:
    configs = []
    for name, model in sorted(rollout.models.items()):
        told = chosen(model.told)
        versions = "".join(f"\n        versions: {version}" for version in told.versions)
        labels = "".join(
            f"\n    version_labels {{ key: {json.dumps(label)} value: {version} }}"
            for label, version in sorted(told.labels.items())
        )
        configs.append(
            f"""\
  config {{
    name: {json.dumps(name)}
    base_path: {json.dumps(f"{base.rstrip('/')}/{name}")}
    model_platform: "tensorflow"
    model_version_policy {{
      specific {{{versions}
      }}
    }}{labels}
  }}
"""
        )
    return GENERATED + "model_config_list {\n" + "".join(configs) + "}\n"
