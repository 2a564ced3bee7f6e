"""Roles and databases on a real PostgreSQL, made by a master that is no superuser, as on AWS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from learnloop.ledger import open_ledger
from tests import servers
from tests.terraform.conftest import ROOT

PROGRAM = ROOT / "terraform" / "databases.py"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[servers.PostgresServer]:
    """A server of this test's own, which asks all but its superuser for a password, as on AWS."""
    with servers.postgres_server(tmp_path) as server:
        engine = sa.create_engine(server.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(
                sa.text("CREATE ROLE master LOGIN CREATEDB CREATEROLE PASSWORD 'first'")
            )
            connection.execute(sa.text("ALTER ROLE master SET log_statement = 'all'"))
            access = Path(connection.execute(sa.text("SHOW hba_file")).scalar_one())
            access.write_text(
                "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            )
            connection.execute(sa.text("SELECT pg_reload_conf()"))
        engine.dispose()
        yield server


def url(server: servers.PostgresServer, name: str, password: str) -> str:
    return f"postgresql+psycopg2://{name}:{password}@127.0.0.1:{server.port}/{name}?sslmode=prefer"


def make(texts: list[dict[str, str]]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM],
        input=json.dumps([json.dumps(text) for text in texts]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_each_url_gets_a_database_that_its_role_alone_may_use(
    server: servers.PostgresServer,
) -> None:
    secrets = [
        {"username": "master", "password": "first"},
        {"LEARNLOOP_LEDGER": url(server, "ledger", "one")},
        {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url(server, "airflow", "two"),
            "AIRFLOW__CORE__FERNET_KEY": "k",
        },
    ]
    for _ in range(2):
        done = make(secrets)
        assert (done.stdout, done.stderr) == ("ledger\nairflow\n", "")
    open_ledger(url(server, "ledger", "one"))  # makes its tables
    with sa.create_engine(server.url()).connect() as connection:
        owners = connection.execute(
            sa.text(
                "SELECT datname, pg_get_userbyid(datdba), datacl::text NOT LIKE '%{=%'"
                " FROM pg_database WHERE datname IN ('ledger', 'airflow') ORDER BY datname"
            )
        ).all()
    assert owners == [("airflow", "airflow", True), ("ledger", "ledger", True)]


def test_a_password_is_set_anew_and_is_in_no_log(
    server: servers.PostgresServer, tmp_path: Path
) -> None:
    for password in ("earlier-password", "later-password"):
        done = make(
            [
                {"username": "master", "password": "first"},
                {"LEARNLOOP_LEDGER": url(server, "ledger", password)},
            ]
        )
        assert (done.stdout, done.stderr) == ("ledger\n", "")
    open_ledger(url(server, "ledger", "later-password"))
    earlier = sa.create_engine(url(server, "ledger", "earlier-password"))
    with pytest.raises(sa.exc.OperationalError, match="password authentication failed"):
        earlier.connect()
    log = (tmp_path / "log").read_text()
    assert 'ALTER ROLE "ledger" LOGIN PASSWORD \'SCRAM-SHA-256$' in log
    assert "earlier-password" not in log
    assert "later-password" not in log


def test_other_secrets_are_refused_without_telling_them() -> None:
    done = make([{"LEARNLOOP_EVENT_KEY": "do-not-tell"}])
    assert done.returncode == 1
    assert done.stderr == (
        "These are not the secrets that databases are made of.\n"
        "  expected: one with username and password, and some with URLs of PostgreSQL\n"
        "  received: 0 with username and password, 0 URLs\n"
        "  next:     see docs/provisioning.md\n"
    )
