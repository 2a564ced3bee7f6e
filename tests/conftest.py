"""Fixtures that any test may use: an empty project, and the real data where it is."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from learnloop.settings import Settings
from messaging.private_broker import PrivateBroker
from tests import servers

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A shell has what it starts in the background ignore Ctrl-C, and so would what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine's load and nothing about the code; and
# a test that shares a fixture among its examples makes a folder for each.
hypothesis_settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis_settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Take away what a command that ran in this process has set up for its own."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real learner data; a test that asks for it is skipped where there is none."""
    folder = Path(os.environ.get("LEARNLOOP_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        assert not os.environ.get("CI"), f"CI needs the real learner data in {folder}"
        pytest.skip("no real learner data: LEARNLOOP_TEST_DATA names no folder")
    return folder


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of an empty project, ``tmp_path / "project"``, which is the current one."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "learnloop.toml").touch()
    for name in [name for name in os.environ if name.startswith("LEARNLOOP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(project))
    return Settings()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.PostgresServer]:
    """A private PostgreSQL."""
    with servers.postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def new_postgres_database(postgres: servers.PostgresServer) -> Callable[[], str]:
    """Makes an empty PostgreSQL database and gives its SQLAlchemy URL."""
    return postgres.new_database


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RedisServer]:
    """A private Redis that keeps nothing on disk."""
    with servers.redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private S3 (moto), which this process's boto3 clients speak to."""
    with (
        servers.moto_server(tmp_path_factory.mktemp("moto")) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield url


@pytest.fixture(scope="session")
def mlflow_server(
    tmp_path_factory: pytest.TempPathFactory, new_postgres_database: Callable[[], str]
) -> Iterator[str]:
    """A private MLflow tracking server on a private PostgreSQL."""
    folder = tmp_path_factory.mktemp("mlflow")
    with servers.mlflow_server(folder, new_postgres_database()) as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[PrivateBroker]:
    """A private RabbitMQ."""
    with servers.rabbitmq_server() as server:
        yield server


@pytest.fixture
def broker(rabbitmq: PrivateBroker) -> str:
    """The AMQP URL of an empty virtual host."""
    return rabbitmq.new_virtual_host()
