"""A RabbitMQ of one's own: on loopback and free ports, in a folder of its own, gone at the end.

For a laptop and for tests. It is Debian's package started past its wrappers, which change the user;
a broker that the machine runs already is not touched.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from learnloop.errors import LearnLoopError, UsageError

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""The wrappers in /usr/sbin change the user."""

READY_SECONDS = 120.0
_PORTS = 5
_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus}
log.console = false
log.file.level = warning
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
"""


@dataclass
class PrivateBroker:
    """A RabbitMQ, which may be killed and started again with what it had on disk.

    Args:
        place: The folder of its data and configuration.
        port: Its AMQP port; management and metrics follow, then Erlang's own two.
        process: Its process, once it was started.
    """

    place: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """What keeps it to its own folder, ports and loopback."""
        return {
            "HOME": str(self.place),
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.port + 3),
            "ERL_EPMD_PORT": str(self.port + 4),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.place / "data"),
            "RABBITMQ_LOG_BASE": str(self.place / "log"),
            "RABBITMQ_PID_FILE": str(self.place / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.place / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.place / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 "
                # A move between queues that a kill has cut is tried again after this, not 3 min.
                "-rabbit dead_letter_worker_publisher_confirm_timeout 1000"
            ),
        }

    def url(self, virtual_host: str = "%2F") -> str:
        """An AMQP URL."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{virtual_host}"

    def new_virtual_host(self) -> str:
        """Make an empty virtual host and give its AMQP URL."""
        name = f"own-{time.time_ns()}"
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self._manage(f"/vhosts/{name}", {})
        self._manage(f"/permissions/{name}/guest", rights)
        return self.url(name)

    def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises:
            LearnLoopError: It does not.
        """
        output = self.place / "output"
        environment = {**os.environ, **self.environment}
        with output.open("wb") as said:
            self.process = subprocess.Popen(
                [PROGRAMS / "rabbitmq-server"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                cwd=self.place,
            )
        until = time.monotonic() + READY_SECONDS
        ask: list[str | Path] = [PROGRAMS / "rabbitmqctl", "await_startup"]
        while (
            not self._is_open()
            or subprocess.run(
                ask, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
            ).returncode
        ):
            if self.process.poll() is not None or time.monotonic() > until:
                said_last = output.read_text(errors="replace").strip()[-500:]
                raise LearnLoopError(
                    "The private RabbitMQ did not start.", where=self.place, received=said_last
                )
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while self._is_open():  # its port outlives the shell for a moment
            time.sleep(0.05)

    def remove(self) -> None:
        """End it and the name service that it started, and remove its folder."""
        self.kill()
        name_service = ["epmd", "-port", str(self.port + 4), "-kill"]
        subprocess.run(name_service, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        shutil.rmtree(self.place, ignore_errors=True)

    def _is_open(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def _manage(self, path: str, body: Mapping[str, str]) -> None:
        """Ask the management API to make something."""
        token = base64.b64encode(b"guest:guest").decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port + 1}/api{path}",
            method="PUT",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()


@contextlib.contextmanager
def private_broker() -> Iterator[PrivateBroker]:
    """Run a RabbitMQ until the block ends.

    Raises:
        UsageError: It is not installed.
        LearnLoopError: It did not start.
    """
    if not (PROGRAMS / "rabbitmq-server").exists():
        raise UsageError(
            "RabbitMQ is not installed.", where=PROGRAMS, next="apt-get install rabbitmq-server"
        )
    place = Path(tempfile.mkdtemp(prefix="learnloop-rabbitmq-"))
    broker = PrivateBroker(place, _free_ports())
    (place / "rabbitmq.conf").write_text(
        _CONFIGURATION.format(
            amqp=broker.port, management=broker.port + 1, prometheus=broker.port + 2
        )
    )
    (place / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
    try:
        broker.start()
        yield broker
    finally:
        broker.remove()


def _free_ports() -> int:
    """Find ports in a row that nothing listens on, and give the first."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            for other in range(port + 1, port + _PORTS):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", other))
            return port
