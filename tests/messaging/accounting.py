"""An account of requests: all that were sent, the faults there were, and what became of each.

The parts are real: RabbitMQ, the command ``learnloop listen``, the ledger's database; Airflow is
the stand-in. The account compares four books that know nothing of each other: what was sent, the
ledger, Airflow's runs and the dead-letter queue.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from learnloop.errors import LearnLoopError
from learnloop.ledger import open_ledger
from messaging.broker import (
    DEAD_QUEUE,
    EVENTS,
    QUEUE,
    ROUTING_KEY,
    Delays,
    opened_channel,
)
from messaging.dead_letters import read_dead_letters
from messaging.decisions import Decisions
from messaging.messages import RetrainRequest, new_request, poison_id
from messaging.policy.settings import Policies
from messaging.publisher import publish
from messaging.records import Outcome
from tests.messaging import airflow_stand_in
from tests.servers import free_port, wait_for_port

DELAYS = (0.2, 0.5, 1.0)
PATIENCE_SECONDS = 240.0
SETTLE_SECONDS = 3.0
"""RabbitMQ writes a new quorum queue's name down half a second after it was first declared."""

POLICIES = """
[default]
minimum_new_rows = 100
cool_down_hours = 0.0
runs_a_day = 1000000
burst_seconds = 0.5

[calm]
minimum_new_rows = 0
cool_down_hours = 1.0
"""


@dataclass
class Process:
    """A process that may be killed and started again.

    Args:
        command: Its command line.
        environment: Added to this process's.
        log: Where its output goes.
        port: The port that shows that it is ready; 0 to wait for none.
    """

    command: list[str]
    environment: dict[str, str]
    log: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self.port:
            wait_for_port(self.port, self.process, self.log)

    def kill(self) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        """Ask it to end, and give its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)


@dataclass
class Account:
    """What was sent and what became of it.

    Args:
        sent: Requests by message id.
        poison: The ids that the ledger will give to what is no request.
        kills: Kills by what was killed.
        outcomes: Messages by outcome.
        faults: Everything that does not add up; empty if all is well.
        runs: Runs that Airflow made.
        seconds: How long it took.
    """

    sent: dict[str, RetrainRequest] = field(default_factory=dict)
    poison: set[str] = field(default_factory=set)
    kills: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    runs: int = 0
    seconds: float = 0.0

    def table(self) -> str:
        """The account in Markdown."""
        total = len(self.sent) + len(self.poison)
        rows = [
            ("messages sent, each id once", total),
            *((f"ended: {name}", count) for name, count in sorted(self.outcomes.items())),
            ("ended, in all", self.outcomes.total()),
            ("runs that Airflow made", self.runs),
            *((f"kill -9 of the {name}", count) for name, count in sorted(self.kills.items())),
            ("lost, doubled or contradicted", len(self.faults)),
        ]
        lines = ["| what | count |", "|---|---|", *(f"| {what} | {n:,} |" for what, n in rows)]
        return "\n".join(lines)


class World:
    """The broker, Airflow's stand-in, the ledger and the listener of one account.

    Args:
        folder: Logs and Airflow's runs.
        broker: The broker's address.
        ledger: The ledger's address.
        share: One of so many of Airflow's answers is a fault.
    """

    def __init__(self, folder: Path, broker: str, ledger: str, share: int) -> None:
        (folder / "learnloop.toml").write_text(f"retrain_delays = {list(DELAYS)}\n")
        (folder / "policies.toml").write_text(POLICIES)
        port = free_port()
        self.folder, self.broker, self.ledger = folder, broker, ledger
        environment = {
            "LEARNLOOP_PROJECT": str(folder),
            "LEARNLOOP_RABBITMQ": broker,
            "LEARNLOOP_LEDGER": ledger,
            "LEARNLOOP_AIRFLOW": f"http://127.0.0.1:{port}",
            "LEARNLOOP_AIRFLOW_USER": airflow_stand_in.USER,
            "LEARNLOOP_AIRFLOW_PASSWORD": airflow_stand_in.PASSWORD,
        }
        module = "tests.messaging.airflow_stand_in"
        self.airflow = Process(
            [sys.executable, "-m", module, str(port), str(folder), str(share)],
            {},
            folder / "airflow.log",
            port,
        )
        listen = [sys.executable, "-m", "learnloop", "listen", "--port", "0"]
        self.listener = Process(listen, environment, folder / "listener.log")

    def start(self) -> None:
        with opened_channel(self.broker) as channel:
            Delays(DELAYS).declare(channel)
        time.sleep(SETTLE_SECONDS)
        self.airflow.start()
        self.listener.start()

    def waiting(self) -> int:
        """Count the messages that are still on their way, taken ones not among them."""
        delays = Delays(DELAYS)
        with opened_channel(self.broker) as channel:
            delays.declare(channel)
            return sum(
                channel.queue_declare(name, passive=True).method.message_count
                for name in (QUEUE, *delays.queues)
            )

    def outcomes(self) -> dict[str, Outcome]:
        decisions = Decisions(open_ledger(self.ledger), Policies())
        return {message.id: message.outcome for message in decisions.every_message()}


def make_requests(count: int, seed: int) -> list[bytes]:
    """Messages of all kinds: bursts, own wishes, too few rows, wrong parameters, poison."""
    chance = random.Random(seed)
    bodies = []
    for number in range(count):
        kind = chance.random()
        pipeline = f"pipeline_{chance.randrange(20)}"
        rows = {"new_labelled_rows": 5000}
        if kind < 0.02:
            bodies.append(json.dumps({"type": "nonsense", "number": number}).encode())
            continue
        if kind < 0.04:
            request = new_request(pipeline, "person", "ada", parameters={"share": "a lot"})
        elif kind < 0.14:
            request = new_request(pipeline, "new_data", "ingest", evidence={"new_labelled_rows": 7})
        elif kind < 0.24:
            request = new_request(pipeline, "person", "ada", parameters={"seed": number})
        elif kind < 0.29:
            request = new_request("calm", "schedule", "cron", evidence=rows)
        else:
            request = new_request(pipeline, "new_data", "ingest", evidence=rows)
        bodies.append(request.to_bytes())
    return bodies


def send(
    world: World, bodies: list[bytes], account: Account, chance: random.Random, rate: float
) -> None:
    """Send all, some of them twice; what a broken connection leaves open is sent again."""
    waiting = list(bodies)
    while waiting:
        try:
            with opened_channel(world.broker) as channel:
                while waiting:
                    body = waiting[0]
                    name = _enter(account, body)
                    for _ in range(2 if chance.random() < 0.05 else 1):
                        publish(channel, EVENTS, ROUTING_KEY, body, name)
                    waiting.pop(0)
                    time.sleep(1 / rate)
        except LearnLoopError:
            time.sleep(0.2)


def _enter(account: Account, body: bytes) -> str:
    from messaging.messages import PoisonMessage, parse_request

    try:
        request = parse_request(body)
    except PoisonMessage:
        account.poison.add(poison_id(body))
        return poison_id(body)
    account.sent[request.message_id] = request
    return request.message_id


def keep_account(
    world: World,
    bodies: list[bytes],
    seed: int,
    kill: dict[str, Callable[[], None]],
    kills: int,
    rate: float,
) -> Account:
    """Send requests while things are killed, wait until all has ended, and compare the books.

    Args:
        world: Started.
        bodies: What is sent.
        seed: Of the choice of what is sent twice and what is killed.
        kill: Kills a part and starts it again, by name.
        kills: How many kills there shall be.
        rate: Messages sent in a second, at most.
    """
    account, chance = Account(), random.Random(seed)
    began = time.monotonic()
    sender = threading.Thread(target=send, args=(world, bodies, account, random.Random(seed), rate))
    sender.start()
    names = sorted(kill) * (kills // len(kill) + 1)
    for name in chance.sample(names[:kills], kills):
        time.sleep(chance.uniform(0.2, 1.5))
        kill[name]()
        account.kills[name] += 1
    sender.join()
    _wait_for_the_end(world, account)
    account.seconds = time.monotonic() - began
    if (code := world.listener.end()) != 0:
        account.faults.append(f"the listener ended with {code}")
    world.airflow.kill()
    _compare(world, account)
    return account


def _wait_for_the_end(world: World, account: Account) -> None:
    wanted = account.sent.keys() | account.poison
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        with suppress(LearnLoopError):
            known = world.outcomes()
            ended = {name for name, outcome in known.items() if outcome is not Outcome.open}
            if wanted <= ended and world.waiting() == 0:
                return
        time.sleep(0.5)
    account.faults.append("not all messages ended in time")


def _compare(world: World, account: Account) -> None:
    decisions = Decisions(open_ledger(world.ledger), Policies())
    messages = {message.id: message for message in decisions.every_message()}
    runs = Counter(run["id"] for run in airflow_stand_in.read_runs(world.folder))
    letters = {letter.id: letter for letter in read_dead_letters(world.broker, 1_000_000)}
    account.runs = runs.total()
    account.outcomes = Counter(str(message.outcome) for message in messages.values())
    with opened_channel(world.broker) as channel:
        left = channel.queue_declare(QUEUE, passive=True).method.message_count
        assert channel.queue_declare(DEAD_QUEUE, passive=True).method.message_count >= len(letters)
    if left:
        account.faults.append(f"{left} messages were never acknowledged")
    if strangers := messages.keys() ^ (account.sent.keys() | account.poison):
        account.faults.append(f"{len(strangers)} messages are in one book only")
    account.faults += [f"run {name} was made {n} times" for name, n in runs.items() if n > 1]
    caused = set()
    for name, message in messages.items():
        decision, outcome = message.decision, message.outcome
        run = decision.run_id if decision else None
        if outcome in (Outcome.caused, Outcome.coalesced):
            if run not in runs:
                account.faults.append(f"{name}: {outcome}, but there is no run {run}")
            if outcome is Outcome.caused:
                caused.add(run)
        elif run in runs:
            account.faults.append(f"{name}: {outcome}, but run {run} was made")
        if (outcome is Outcome.dead_lettered) != (name in letters):
            account.faults.append(f"{name}: {outcome}, and the dead letters say otherwise")
        if outcome is Outcome.open or not message.why:
            account.faults.append(f"{name}: {outcome} without a reason")
    if strangers := runs.keys() ^ caused:
        account.faults.append(f"{len(strangers)} runs without one message that caused them")
