"""An MLflow flavour that stores a Model artifact's folder as it is.

MLflow's own ``save_model`` would save the loaded model a second time, with other bytes. This writes
the same ``MLmodel`` file beside a plain copy, so that ``mlflow.pyfunc.load_model`` and
``mlflow.tensorflow.load_model`` answer with exactly what is served. MLflow calls :func:`save_model`
by name (https://mlflow.org/docs/latest/ml/community-model-flavors).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.engines.registry import ARTIFACT_FOLDER

if TYPE_CHECKING:
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature

FLAVOR_NAME = "tensorflow"
EXAMPLE = "input_example.json"


def save_model(
    path: str,
    mlflow_model: Model,
    artifact: Path,
    signature: ModelSignature,
    example: Mapping[str, Any],
    pip_requirements: Sequence[str],
    **ignored: Any,
) -> None:
    """Write an MLflow model folder.

    Args:
        path: The folder to make.
        mlflow_model: What MLflow will register; it gets the flavours.
        artifact: The Model artifact's folder.
        signature: The served inputs.
        example: A few raw rows by column.
        pip_requirements: What loading needs.
        **ignored: What MLflow passes to every flavour.
    """
    from mlflow import pyfunc

    folder = Path(path)
    shutil.copytree(artifact, folder / ARTIFACT_FOLDER)
    mlflow_model.signature = signature
    mlflow_model.add_flavor(
        FLAVOR_NAME,
        saved_model_dir=f"{ARTIFACT_FOLDER}/saved_model",
        meta_graph_tags=["serve"],
        signature_def_key="serving_default",
        model_type="tf1-estimator",
    )
    pyfunc.add_to_model(mlflow_model, loader_module="mlflow.tensorflow", python_env=None)
    if example:
        (folder / EXAMPLE).write_text(json.dumps({"inputs": example}))
        mlflow_model.saved_input_example_info = {
            "artifact_path": EXAMPLE,
            "type": "ndarray",
            "format": "tf-serving",
        }
    (folder / "requirements.txt").write_text("\n".join(pip_requirements) + "\n")
    mlflow_model.save(str(folder / "MLmodel"))
