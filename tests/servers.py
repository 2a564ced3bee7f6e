"""Private servers for tests: each on a free port of loopback, each ended with its own group."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_SECONDS = 120.0
RABBITMQ = "/usr/lib/rabbitmq/bin"
"""The wrappers in /usr/sbin change the user."""


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: list[str],
    port: int,
    log: Path,
    *,
    environment: dict[str, str] | None = None,
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends: start it, wait until its port answers, end its group.

    Args:
        command: The server's command line.
        port: The port that shows that it is ready.
        log: Where its output goes.
        environment: Added to this process's environment.
        user: Run as this user.
        stop: The signal that ends it at once and in order.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            user=user,
            cwd=log.parent,
        )
    try:
        wait_for_port(port, process, log)
        yield process
    finally:
        end_group(process, stop)


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers, or fail with what it wrote."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} is not ready:\n{log.read_text()[-3000:]}")


def end_group(process: subprocess.Popen[bytes], stop: signal.Signals = signal.SIGTERM) -> None:
    """End a process and its children, kindly at first."""
    for kind in (stop, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return


@dataclass(frozen=True)
class PostgresServer:
    """A private PostgreSQL.

    Args:
        port: Its port.
        process: The server's process.
    """

    port: int
    process: subprocess.Popen[bytes]

    def url(self, database: str = "postgres") -> str:
        """An SQLAlchemy URL; the server trusts whoever reaches its loopback port."""
        return f"postgresql+psycopg2://postgres@127.0.0.1:{self.port}/{database}"

    def wait(self) -> None:
        """Wait until it takes connections, which is some time after its port is open."""
        import sqlalchemy as sa

        engine = sa.create_engine(self.url(), poolclass=sa.NullPool)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                engine.connect().close()
                return
            except sa.exc.OperationalError:
                assert time.monotonic() < deadline
            time.sleep(0.05)

    def new_database(self) -> str:
        """Make an empty database and give its URL."""
        import sqlalchemy as sa

        name = f"test_{time.time_ns()}"
        engine = sa.create_engine(self.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """Run a private PostgreSQL; its log goes to a folder."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        assert not os.environ.get("CI"), "CI needs PostgreSQL: apt-get install postgresql"
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # Not below pytest's own folder: each start of pytest closes that to all but its user.
    place = Path(tempfile.mkdtemp(prefix="learnloop-postgres-"))
    data, user = place / "data", None
    data.mkdir()
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "postgres"
        place.chmod(0o755)
        shutil.chown(data, user)
    subprocess.run(
        [programs[-1] / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        user=user,
        cwd="/",
    )
    port = free_port()
    command = [
        str(programs[-1] / "postgres"),
        *("-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", ""),
        *("-c", "fsync=off", "-c", "max_connections=100"),
    ]
    try:
        # SIGTERM would have PostgreSQL wait for its clients.
        with running(command, port, folder / "log", user=user, stop=signal.SIGINT) as process:
            server = PostgresServer(port, process)
            server.wait()
            yield server
    finally:
        shutil.rmtree(place, ignore_errors=True)


@dataclass
class RedisServer:
    """A private Redis, which may be killed and started again.

    Args:
        folder: Where its log and its files go.
        port: Its port.
        options: Further options of its command line.
    """

    folder: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    databases: int = 0

    def url(self, database: int = 0) -> str:
        """A URL; the server trusts whoever reaches its loopback port."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Give the URL of a database that nobody else uses."""
        self.databases += 1
        return self.url(self.databases)

    def start(self) -> None:
        """Start it and wait until it takes commands."""
        log = self.folder / "redis.log"
        command = [
            *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""),
            *("--databases", "1000", "--dir", str(self.folder), *self.options),
        ]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        wait_for_port(self.port, self.process, log)
        deadline = time.monotonic() + READY_SECONDS
        while self.ask("PING") != "+PONG":  # it refuses commands while it reads its files
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.02)

    def ask(self, command: str) -> str:
        """Send a command without arguments and give the first line of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.makefile().readline().rstrip("\r\n")

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self.process is not None
        end_group(self.process, signal.SIGKILL)


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run a private Redis that keeps nothing on disk, unless options say so."""
    if shutil.which("redis-server") is None:
        assert not os.environ.get("CI"), "CI needs Redis: apt-get install redis-server"
        pytest.skip("Redis is not installed: apt-get install redis-server")
    server = RedisServer(folder, free_port(), options)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            end_group(server.process, signal.SIGKILL)


@contextlib.contextmanager
def moto_server(folder: Path) -> Iterator[str]:
    """Run moto's S3 and give its URL."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, folder / "moto.log"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def mlflow_server(folder: Path, database: str) -> Iterator[str]:
    """Run a real MLflow tracking server on a database and give its URL."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", database),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with running(command, port, folder / "mlflow.log"):
        yield f"http://127.0.0.1:{port}"


@dataclass
class RabbitServer:
    """A private RabbitMQ, which may be killed and started again with what it had on disk.

    Args:
        place: The folder of its data and configuration.
        port: Its AMQP port; management and metrics follow, then Erlang's own two.
    """

    place: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
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
        name = f"test-{time.time_ns()}"
        self.manage("PUT", f"/vhosts/{name}")
        self.manage(
            "PUT",
            f"/permissions/{name}/guest",
            {"configure": ".*", "write": ".*", "read": ".*"},
        )
        return self.url(name)

    def manage(self, method: str, path: str, body: dict[str, str] | None = None) -> None:
        """Ask the management API for something."""
        token = base64.b64encode(b"guest:guest").decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port + 1}/api{path}",
            method=method,
            data=json.dumps(body or {}).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        log = self.place / "output"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [f"{RABBITMQ}/rabbitmq-server"],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
                cwd=self.place,
            )
        wait_for_port(self.port, self.process, log)
        deadline = time.monotonic() + READY_SECONDS
        command = [f"{RABBITMQ}/rabbitmqctl", "await_startup"]
        environment = {**os.environ, **self.environment}
        while subprocess.run(command, env=environment, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(OSError):  # its port outlives the shell for a moment
            while True:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                time.sleep(0.05)


@contextlib.contextmanager
def rabbitmq_server() -> Iterator[RabbitServer]:
    """Run a private RabbitMQ."""
    if not Path(RABBITMQ, "rabbitmq-server").exists():
        assert not os.environ.get("CI"), "CI needs RabbitMQ: apt-get install rabbitmq-server"
        pytest.skip("RabbitMQ is not installed: apt-get install rabbitmq-server")
    place = Path(tempfile.mkdtemp(prefix="learnloop-rabbitmq-"))
    server = RabbitServer(place, free_ports(5))
    (place / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{server.port}\n"
        f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {server.port + 1}\n"
        f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {server.port + 2}\n"
        "log.console = false\nlog.file.level = warning\n"
        "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n"
    )
    (place / "enabled_plugins").write_text("[rabbitmq_management].\n")
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            end_group(server.process, signal.SIGKILL)
        end_name_service(server.port + 4)
        shutil.rmtree(place, ignore_errors=True)


def end_name_service(port: int) -> None:
    """End the name service that a private RabbitMQ started on a port of its own."""
    import psutil

    for process in psutil.process_iter(["name", "environ"]):
        found = process.info
        if found["name"] == "epmd" and (found["environ"] or {}).get("ERL_EPMD_PORT") == str(port):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def free_ports(count: int) -> int:
    """Find so many ports in a row that nothing listens on, and give the first."""
    while True:
        first = free_port()
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


NewDatabase = Callable[[], str]
