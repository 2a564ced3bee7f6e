"""The files that TensorFlow Serving, and the embedded server, are started with.

``models.config`` (``ModelServerConfig``) is made anew at every move and read again by running
servers; ``batching.config`` (``BatchingParameters``) and ``monitoring.config``
(``MonitoringConfig``) are read once, when a server starts, and an operator's own are left alone.
The text format of protocol buffers is written by hand because its library takes longer to import
than a move may take; tests parse every file with the real messages.
"""

from __future__ import annotations

import json

from serving.state import Rollout

MODELS, BATCHING, MONITORING = "models.config", "batching.config", "monitoring.config"
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


def models_config(rollout: Rollout, base: str) -> str:
    """Write what servers are told now as a ``ModelServerConfig`` in text format.

    Args:
        rollout: The document.
        base: The base folder as the server sees it.

    Returns:
        The text; equal for equal documents.
    """
    configs = []
    for name, model in sorted(rollout.models.items()):
        versions = "".join(f"\n        versions: {version}" for version in model.told.versions)
        labels = "".join(
            f"\n    version_labels {{ key: {json.dumps(label)} value: {version} }}"
            for label, version in sorted(model.told.labels.items())
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
