"""``make airflow``: Airflow on this machine, for the person who started it.

Web server, scheduler, DAG processor and triggerer are four processes on the loopback interface,
each the leader of a group of its own, so that ending it ends what it has started. Everybody who can
reach the port is an administrator: this is for development. What they say goes to files under the
home folder; the metadata database is SQLite there, or what
``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN`` names.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from learnloop.airflow.environment import server_environment
from learnloop.errors import LearnLoopError
from learnloop.settings import Settings, load_settings

AIRFLOW = (sys.executable, "-m", "airflow")
PROCESSES = ("api-server", "scheduler", "dag-processor", "triggerer")
DEFAULT_PORT = 8080
START_SECONDS = 180.0
END_SECONDS = 15.0
WATCH_SECONDS = 0.5
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class AirflowServer:
    """Airflow's processes. Start it with :func:`start_airflow`.

    Args:
        url: The web server's address.
        logs: The folder of what the processes say.
        processes: The processes by name.
    """

    url: str
    logs: Path
    processes: dict[str, subprocess.Popen[bytes]]

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until every process tells that it is healthy.

        Args:
            seconds: The longest to wait.

        Raises:
            LearnLoopError: A process ended, or the time is over.
        """
        until = time.monotonic() + seconds
        while not self._is_healthy():
            self.check()
            if time.monotonic() > until:
                raise LearnLoopError(
                    f"Airflow was not ready after {seconds:.0f} s.", where=self.logs
                )
            time.sleep(WATCH_SECONDS)

    def check(self) -> None:
        """Check that every process runs.

        Raises:
            LearnLoopError: One has ended.
        """
        for name, process in self.processes.items():
            if process.poll() is not None:
                log = self.logs / f"{name}.log"
                said = log.read_text(errors="replace").strip().splitlines()
                raise LearnLoopError(
                    f"Airflow's {name} ended with exit code {process.returncode}.",
                    where=log,
                    received=said[-1] if said else "nothing in its log",
                )

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v2/monitor/health", timeout=5) as answer:
                health = json.load(answer)
        except (OSError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def stop(self) -> None:
        """End every process and all that it has started."""
        for process in self.processes.values():
            process.terminate()
        until = time.monotonic() + END_SECONDS
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
        for process in self.processes.values():
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()


def start_airflow(settings: Settings, port: int) -> AirflowServer:
    """Start Airflow's processes; they are not ready yet when this returns.

    Args:
        settings: Names the home folder and the folder of DAG files.
        port: A free port of the loopback interface.

    Returns:
        The server, which its starter has to stop.

    Raises:
        LearnLoopError: The metadata database cannot be made.
    """
    environment = server_environment(port, settings)
    home = Path(environment["AIRFLOW_HOME"])
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    _prepare(environment, logs / "prepare.log")
    server = AirflowServer(f"http://127.0.0.1:{port}", logs, {})
    try:
        for name in PROCESSES:
            server.processes[name] = start([*AIRFLOW, name], environment, logs / f"{name}.log")
    except BaseException:
        server.stop()
        raise
    return server


def _prepare(environment: Mapping[str, str], log: Path) -> None:
    """Make the metadata database and the DAGs' pools; Airflow's secrets are made along."""
    if start([sys.executable, "-m", "learnloop.airflow.prepare"], environment, log).wait() != 0:
        raise LearnLoopError(
            "Airflow's metadata database could not be made ready.",
            where=log,
            received=(log.read_text(errors="replace").strip().splitlines() or [""])[-1],
        )


def start(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, which ends when this process does, even if killed.

    Args:
        command: The program and its arguments.
        environment: Its whole environment.
        log: The file for what it says.
    """
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


def _end_with_parent() -> None:
    """Ask Linux to send SIGTERM to this process when the one that started it is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


@contextlib.contextmanager
def running_airflow(settings: Settings, port: int) -> Iterator[AirflowServer]:
    """Run Airflow for the length of a ``with`` block, ready to take runs.

    Args:
        settings: Names the home folder and the folder of DAG files.
        port: A free port of the loopback interface.

    Yields:
        The server.

    Raises:
        LearnLoopError: It did not start.
    """
    server = start_airflow(settings, port)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def find_port(preferred: int = 0) -> int:
    """Find a free port of the loopback interface.

    Args:
        preferred: The port to take if it is free; 0 for any.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            return find_port()
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    """Run Airflow until a person ends it.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="make airflow", description="Airflow on this machine.")
    parser.add_argument("--port", type=int, default=0, help="the web server's port")
    port = parser.parse_args().port or find_port(DEFAULT_PORT)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    print("Airflow is starting, which takes about half a minute …", flush=True)
    try:
        with running_airflow(load_settings(), port) as server:
            print(f"Airflow: {server.url}   (Ctrl-C ends it; logs: {server.logs})", flush=True)
            while True:
                time.sleep(WATCH_SECONDS)
                server.check()
    except KeyboardInterrupt:
        print("Airflow has ended.")
        return 0
    except LearnLoopError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
