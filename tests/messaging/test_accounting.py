"""Nothing lost, nothing doubled: every request ends in exactly one way, whatever is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from learnloop.ledger import open_ledger
from messaging.private_broker import PrivateBroker
from tests.messaging.accounting import World, keep_account, make_requests
from tests.servers import PostgresServer, end_group, postgres_server

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.mark.timeout(600)
def test_300_requests_while_listener_and_broker_are_killed(
    tmp_path: Path, rabbitmq: PrivateBroker
) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    open_ledger(ledger)
    world = World(tmp_path, rabbitmq.new_virtual_host(), ledger, share=7)
    world.start()

    def kill_listener() -> None:
        world.listener.kill()
        world.listener.start()

    def kill_broker() -> None:
        rabbitmq.kill()
        rabbitmq.start()

    kill: dict[str, Callable[[], None]] = {"listener": kill_listener, "broker": kill_broker}
    account = keep_account(world, make_requests(300, seed=1), 1, kill, 4, rate=100)
    print(account.table())
    assert account.faults == []
    assert account.outcomes.total() == len(account.sent) + len(account.poison) == 300
    assert set(account.outcomes) == {"caused", "coalesced", "refused", "dead_lettered"}
    assert account.runs == account.outcomes["caused"]


@contextlib.contextmanager
def killable_database(folder: Path) -> Iterator[tuple[PostgresServer, Callable[[], None]]]:
    """Run a private PostgreSQL, and give what kills it and starts it again."""
    user = "postgres" if os.geteuid() == 0 else None
    with postgres_server(folder) as server, (folder / "again.log").open("ab") as log:
        processes = [server.process]

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(processes[-1].pid, signal.SIGKILL)
            processes[-1].wait()
            while True:  # it refuses to start as long as a child of the old one lives
                again = subprocess.Popen(
                    processes[0].args, stdout=log, stderr=log, user=user, start_new_session=True
                )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    again.wait(1.0)
                    continue
                processes.append(again)
                server.wait()
                return

        try:
            yield server, kill
        finally:
            end_group(processes[-1], signal.SIGINT)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_10_000_requests_while_everything_is_killed(
    tmp_path: Path, rabbitmq: PrivateBroker
) -> None:
    with killable_database(tmp_path) as (database, kill_database):
        ledger = database.new_database()
        open_ledger(ledger)
        world = World(tmp_path, rabbitmq.new_virtual_host(), ledger, share=7)
        world.start()

        def kill_listener() -> None:
            world.listener.kill()
            world.listener.start()

        def kill_airflow() -> None:
            world.airflow.kill()
            world.airflow.start()

        def kill_broker() -> None:
            rabbitmq.kill()
            rabbitmq.start()

        kill: dict[str, Callable[[], None]] = {
            "listener": kill_listener,
            "broker": kill_broker,
            "Airflow API": kill_airflow,
            "database": kill_database,
        }
        account = keep_account(world, make_requests(10_000, seed=2), 2, kill, 32, rate=150)
        print(account.table())
        assert account.faults == []
        assert account.outcomes.total() == 10_000
        assert set(account.outcomes) == {"caused", "coalesced", "refused", "dead_lettered"}
        assert account.runs == account.outcomes["caused"]
