"""What it takes to make a client: an address, few imports, and nothing of the environment's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from learnloop.errors import UsageError
from serving.client import PredictionClient
from tests.serving.client.scripted import Scripted, rest_server, rpc_server

ROOT = Path(__file__).parents[3]


def counted_modules(code: str) -> set[str]:
    """Run code in a process of its own; give what it imported."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(done.stdout.split())


HEAVY = {"tensorflow", "keras", "pandas", "pyarrow", "mlflow", "sqlalchemy"}
LATER = {"numpy", "httpx", "grpc", "opentelemetry", "google.protobuf"}


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_it_imports_no_tensorflow(kind: str) -> None:
    assert not counted_modules("import serving.client") & (HEAVY | LATER)
    state = Scripted()
    run: Callable[[Scripted], Any] = rest_server if kind == "rest" else rpc_server
    with run(state) as server:
        url = server if isinstance(server, str) else server.url
        code = (
            "from serving.client import PredictionClient\n"
            f"client = PredictionClient({url!r}, timeout=60)\n"
            "assert client.predict('double', rows=[{'x': 1}], version=1).scores == [2.0]\n"
        )
        found = counted_modules(code)
    assert not found & HEAVY
    assert ("grpc" in found) == (kind == "grpc")
    assert ("numpy" in found) == (kind == "grpc")


def test_a_client_needs_an_address() -> None:
    with pytest.raises(UsageError) as caught:
        PredictionClient()
    assert str(caught.value) == (
        "A client needs the address of a server.\n"
        "  where:    PredictionClient\n"
        "  expected: http://127.0.0.1:8501 or grpc://127.0.0.1:8500"
    )


def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        state = Scripted()
        with rest_server(state) as server, PredictionClient(server.url) as client:
            assert len(client.status("double")) == 2
