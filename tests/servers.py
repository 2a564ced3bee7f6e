"""Private servers for tests: each on a free port of loopback, each ended with its own group."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from messaging.private_broker import PROGRAMS, PrivateBroker, private_broker

READY_SECONDS = 120.0


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


@contextlib.contextmanager
def rabbitmq_server() -> Iterator[PrivateBroker]:
    """Run a private RabbitMQ."""
    if not (PROGRAMS / "rabbitmq-server").exists():
        assert not os.environ.get("CI"), "CI needs RabbitMQ: apt-get install rabbitmq-server"
        pytest.skip("RabbitMQ is not installed: apt-get install rabbitmq-server")
    with private_broker() as server:
        yield server


NewDatabase = Callable[[], str]
