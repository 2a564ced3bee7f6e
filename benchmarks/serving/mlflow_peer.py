"""MLflow: ``python mlflow_peer.py MODEL FOLDER PORT`` saves a Keras model and serves it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    name, folder, port = sys.argv[1:]
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    # MLflow starts uvicorn by its name.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    import keras
    import mlflow
    import numpy as np

    model = keras.saving.load_model(f"{folder}/keras/{name}.keras")
    example = np.zeros((1, *model.input_shape[1:]), np.float32)
    mlflow.tensorflow.save_model(
        model,
        f"{folder}/mlflow-{name}",
        signature=mlflow.models.infer_signature(example, model(example).numpy()),
        pip_requirements=["tensorflow"],
    )
    command = ["-m", "mlflow", "models", "serve", "-m", f"{folder}/mlflow-{name}"]
    options = ["-h", "127.0.0.1", "-p", port, "--env-manager", "local", "--workers", "1"]
    os.execv(sys.executable, [sys.executable, *command, *options])
