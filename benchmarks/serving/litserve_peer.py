"""LitServe: ``python litserve_peer.py litserve FOLDER PORT``; its workers import this file."""

from __future__ import annotations

import os
import sys
from typing import Any

import litserve
from peers import functions


class Api(litserve.LitAPI):
    """The signatures behind LitServe's API."""

    def setup(self, device: str) -> None:
        """Load the models."""
        self.calls = functions(os.environ["PEER_FOLDER"])

    def predict(self, request: Any) -> Any:
        """Answer rows."""
        import numpy as np

        x = np.array(request["instances"], np.float32)
        return {"predictions": self.calls["dense" if x.ndim == 2 else "lstm"](x).tolist()}


if __name__ == "__main__":
    os.environ["PEER_FOLDER"] = sys.argv[2]
    server = litserve.LitServer(Api(), accelerator="cpu")
    server.run("127.0.0.1", int(sys.argv[3]), generate_client_file=False, log_level="error")
