"""BentoML: ``python bento_peer.py bentoml FOLDER PORT``; its worker imports this file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bentoml
from peers import functions


@bentoml.service(workers=1)
class Predictor:
    """The signatures behind BentoML's API."""

    def __init__(self) -> None:
        self.calls = functions(os.environ["PEER_FOLDER"])

    @bentoml.api(route="/dense")
    def dense(self, instances: list[list[float]]) -> dict[str, list[list[float]]]:
        """Answer rows."""
        import numpy as np

        return {"predictions": self.calls["dense"](np.array(instances, np.float32)).tolist()}

    @bentoml.api(route="/lstm")
    def lstm(self, instances: list[list[list[float]]]) -> dict[str, list[list[float]]]:
        """Answer sequences."""
        import numpy as np

        return {"predictions": self.calls["lstm"](np.array(instances, np.float32)).tolist()}


if __name__ == "__main__":
    folder, port = sys.argv[2:]
    os.environ.update(PEER_FOLDER=folder, BENTOML_DO_NOT_TRACK="true")
    os.chdir(Path(__file__).parent)
    command = ["-m", "bentoml", "serve", "bento_peer:Predictor", "--host", "127.0.0.1"]
    os.execv(sys.executable, [sys.executable, *command, "--port", port])
