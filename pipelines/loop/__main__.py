"""``make loop``: start everything on this machine, go round once, and leave nothing behind.

``make loop AIRFLOW=1`` has Airflow make the run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from learnloop.airflow.server import start
from learnloop.errors import LearnLoopError
from learnloop.settings import load_settings
from pipelines.loop.guard import guard

if TYPE_CHECKING:
    from pipelines.loop.turn import Tell

ROOT = Path(__file__).parents[2]
END_SECONDS = 30.0
LIMIT_SECONDS = 900
"""On a quiet machine a turn takes three minutes, and five with Airflow."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Go round once.

    Args:
        arguments: The command's words; those of this process when None.

    Returns:
        The exit code: 0 the new version answers, 3 the turn was not completed, 130 it was ended.
    """
    parser = argparse.ArgumentParser(prog="make loop", description=__doc__.partition("\n")[0])
    parser.add_argument("--airflow", action="store_true", help="let Airflow make the run")
    parser.add_argument("--keep", action="store_true", help="keep the folder, with all logs")
    given = parser.parse_args(arguments)
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()  # an import in C swallows what is raised in it
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, end)
    signal.alarm(LIMIT_SECONDS)
    folder = Path(tempfile.mkdtemp(prefix="learnloop-loop-"))
    began = time.monotonic()

    def tell(what: str, sentence: str) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        print(f"{time.monotonic() - began:6.1f} s  {what:10} {sentence}", flush=True)

    try:
        with guard(folder):
            _live_in(folder)
            _go_round(folder, tell, has_airflow=given.airflow)
    except (KeyboardInterrupt, LearnLoopError) as fault:
        if ended.is_set():
            print("The loop was ended before its turn was completed.", file=sys.stderr)
            return 130
        print(fault, file=sys.stderr)
        return fault.exit_code if isinstance(fault, LearnLoopError) else 130
    finally:
        if given.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _live_in(folder: Path) -> None:
    """Have this process and its children keep everything in one folder."""
    for name in [name for name in os.environ if name.startswith(("LEARNLOOP_", "AIRFLOW"))]:
        del os.environ[name]
    tempfile.tempdir = str(folder / "temporary")
    Path(tempfile.tempdir).mkdir()
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ.update(
        PYTHONPATH=os.pathsep.join(filter(None, paths)),
        TMPDIR=tempfile.tempdir,
        LEARNLOOP_PROJECT=str(ROOT),
        LEARNLOOP_HOME=str(folder / "home"),
        LEARNLOOP_SERVING=str(folder / "models"),
        LEARNLOOP_PREDICTIONS=str(folder / "predictions"),
        LEARNLOOP_EVENTS=str(folder / "events"),
        LEARNLOOP_PSEUDONYM_KEYS=f"loop:{secrets.token_hex(32)}",
    )


def _go_round(folder: Path, tell: Tell, *, has_airflow: bool) -> None:
    from messaging.events.producer import EventProducer
    from messaging.private_broker import private_broker
    from pipelines.loop.airflow import airflow_for
    from pipelines.loop.kafka import mock_cluster
    from pipelines.loop.live_platform import Platform
    from pipelines.loop.turn import PATIENCE_SECONDS, POLICIES, Stage, go_round, train_first
    from serving.client import PredictionClient
    from serving.embedded import embedded_server
    from serving.server.running import served_source

    settings = load_settings()
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(private_broker())
        os.environ["LEARNLOOP_RABBITMQ"] = broker.url()
        tell("RabbitMQ", f"on port {broker.port}, for this turn alone")
        kafka = stack.enter_context(mock_cluster())
        tell("Kafka", f"librdkafka's mock cluster at {kafka}")
        collect = ["events", "collect", "--kafka", kafka, "--part-seconds", "0.5"]
        stack.enter_context(_running(collect, folder / "collector.log"))
        train_first(folder, settings, tell)
        server = stack.enter_context(
            embedded_server(
                served_source(None),
                folder / "server.log",
                log_features="raw",
                log_part_seconds=0.5,
            )
        )
        tell(
            "server", f"the embedded one, which stands in for TensorFlow Serving: {server.grpc_url}"
        )
        (folder / "policies.toml").write_text(POLICIES)
        listen = ["listen", "--port", "0", "--policies", str(folder / "policies.toml")]
        if has_airflow:
            tell("Airflow", stack.enter_context(airflow_for(folder)))
        else:
            listen += ["--target", "local"]
        stack.enter_context(_running(listen, folder / "listener.log"))
        tell("listener", "learnloop listen" + ("" if has_airflow else " --target local"))
        with PredictionClient(server.grpc_url, timeout=PATIENCE_SECONDS) as client:
            platform = Platform(EventProducer(kafka), client)
            go_round(Stage(folder, settings, platform, tell, has_airflow))
            del platform  # its connections go before the cluster does


@contextlib.contextmanager
def _running(words: Sequence[str], log: Path) -> Iterator[None]:
    """Run a ``learnloop`` command until the block ends."""
    process = start([sys.executable, "-m", "learnloop", *words], os.environ, log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
