"""The embedded server as a child: started on free ports of loopback, asked, ended.

For whatever needs a fresh server for a while: the gate that tries an exported model, and the end of
``make run``. It ends with its parent's block, and no other process is touched.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import learnloop
from learnloop.errors import LearnLoopError

READY_SECONDS = 120.0
_END_SECONDS = 20.0
_REST = re.compile(r"^\s*REST\s+(https?://\S+?)/v1/models$", re.MULTILINE)
_GRPC = re.compile(r"^\s*gRPC\s+(\S+)$", re.MULTILINE)
_TOLD_LINES = 5
_VARIABLES_LEFT_OUT = ("LEARNLOOP_SERVING_TOKENS",)


class ServerNotStarted(LearnLoopError):
    """The child ended, or was not ready in time."""


class NotPrepared(LearnLoopError):
    """The child answers, and does not become as fast as it could in time."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A running child.

    Args:
        process: Its process.
        rest_url: Where REST is.
        grpc_url: Where gRPC is.
        log: What it writes.
        seconds: From its start until it took questions.
    """

    process: subprocess.Popen[bytes]
    rest_url: str
    grpc_url: str
    log: Path
    seconds: float

    def executions(self, model: str) -> dict[str, str]:
        """Tell by what each signature of a model's last version runs now.

        Args:
            model: The model's name; it answers.
        """
        return self._last(model)[0]

    def fastest_executions(self, model: str, seconds: float) -> dict[str, str]:
        """Wait until a model is as fast as it will be, which it becomes while it answers.

        Args:
            model: The model's name; it answers.
            seconds: How long that may take.

        Returns:
            By what each signature runs from then on.

        Raises:
            NotPrepared: It took longer, or the server ended.
        """
        until = time.monotonic() + seconds
        while True:
            executions, is_improving = self._last(model)
            if not is_improving:
                return executions
            if self.process.poll() is not None or time.monotonic() > until:
                raise NotPrepared(
                    "The server has not found the fastest way to run the model.",
                    where=self.log,
                    expected=f"within {seconds:,.0f} s",
                    received=last_lines(self.log),
                )
            time.sleep(0.05)

    def _last(self, model: str) -> tuple[dict[str, str], bool]:
        line = re.compile(
            rf"^.* Version \d+ of model {re.escape(model)} answers \((.*)\)(, and .*)?$",
            re.MULTILINE,
        )
        ways, improving = line.findall(self.log.read_text(errors="replace"))[-1]
        pairs = (way.rpartition(" by ") for way in ways.split(", "))
        return {name: execution for name, _, execution in pairs}, bool(improving)

    def peak_memory_mib(self) -> float:
        """Tell the most memory that it held at once so far (Linux's ``VmHWM``)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024


@contextlib.contextmanager
def embedded_server(
    source: Path,
    log: Path,
    ready_seconds: float = READY_SECONDS,
    log_features: Literal["raw", "digest", "none"] = "none",
    log_part_seconds: float = 60.0,
    home: Path | None = None,
) -> Iterator[EmbeddedServer]:
    """Run ``learnloop serve`` until the block ends.

    Args:
        source: A ``models.config``, or a folder of models.
        log: Where its output goes; replaced.
        ready_seconds: How long it may take to be ready.
        log_features: What the prediction log keeps of features; ``none`` logs nothing.
        log_part_seconds: How old predictions grow before they can be read.
        home: Where its local state is; the setting's folder when None.

    Raises:
        ServerNotStarted: It ended, or was not ready in time; the last lines of its log say why.
    """
    began = time.monotonic()
    command = [sys.executable, "-m", "learnloop", "serve", str(source)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *command,
                "--rest-port",
                "0",
                "--grpc-port",
                "0",
                "--log-features",
                log_features,
                "--log-part-seconds",
                str(log_part_seconds),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(home),
            start_new_session=True,
        )
    try:
        rest, grpc = _addresses(process, log, began + ready_seconds)
        yield EmbeddedServer(process, rest, f"grpc://{grpc}", log, time.monotonic() - began)
    finally:
        _end(process)


def last_lines(log: Path) -> str:
    """Give the end of a server's log, in one line.

    Args:
        log: Its file.
    """
    lines = log.read_text(errors="replace").strip().splitlines()[-_TOLD_LINES:]
    return " / ".join(line.strip() for line in lines) or "it wrote nothing"


def _addresses(process: subprocess.Popen[bytes], log: Path, until: float) -> tuple[str, str]:
    while True:
        text = log.read_text(errors="replace")
        rest, grpc = _REST.search(text), _GRPC.search(text)
        if rest and grpc:
            return rest[1], grpc[1]
        code = process.poll()
        if code is not None or time.monotonic() > until:
            ended = f"exit code {code}" if code is not None else "it still starts"
            raise ServerNotStarted(
                "The embedded server did not start.",
                where=log,
                expected="a server that takes questions",
                received=f"{ended}: {last_lines(log)}",
                next="learnloop serve",
            )
        time.sleep(0.02)


def _environment(home: Path | None) -> dict[str, str]:
    """This process's environment, in which the child finds the same LearnLoop.

    It listens on loopback for as long as its parent asks it, so it asks for no token.
    """
    kept = {name: text for name, text in os.environ.items() if name not in _VARIABLES_LEFT_OUT}
    paths = [str(Path(learnloop.__file__).parents[1]), kept.get("PYTHONPATH", "")]
    if home is not None:
        kept["LEARNLOOP_HOME"] = str(home)
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child and what it started, kindly at first."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
            return
