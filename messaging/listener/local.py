"""Making runs on this machine, without Airflow: one at a time, each in a process of its own.

The listener goes on while a run takes its hours. A run counts as there when the ledger has it; a
child that ends before that has found its pipeline or its parameters wrong, or met a fault.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from learnloop.errors import LearnLoopError, UsageError
from learnloop.ledger import open_ledger
from learnloop.settings import Settings, load_settings
from messaging.listener.target import Answer, Reply, cause_of
from messaging.records import Decision

START_SECONDS = 30.0
WATCH_SECONDS = 0.1
LONGEST_SAID = 500


class LocalTarget:
    """Makes runs by the local runner.

    Args:
        settings: Where the ledger and the logs are.
    """

    def __init__(self, settings: Settings) -> None:
        self._ledger = open_ledger(settings.ledger_url)
        self._folder = settings.home_folder / "listener"
        self._child: subprocess.Popen[bytes] | None = None
        self._run_id = ""

    def create(self, decision: Decision) -> Reply:
        """See :class:`~messaging.listener.target.Target`."""
        run_id = str(decision.run_id)
        if self._is_there(run_id):
            return Reply(Answer.started, "the run was there already")
        is_busy = self._child is not None and self._child.poll() is None
        if is_busy and self._run_id != run_id:
            return Reply(Answer.unavailable, f"this machine is busy with run {self._run_id}")
        if not is_busy:
            self._child, self._run_id = self._start(decision), run_id
        assert self._child is not None
        return self._wait(self._child, run_id)

    def close(self) -> None:
        """Leave a run that is going on alone: it ends by itself, and the ledger has it."""

    def _start(self, decision: Decision) -> subprocess.Popen[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        spec = {
            "pipeline": decision.pipeline,
            "parameters": dict(decision.parameters),
            "run_id": decision.run_id,
            "cause": cause_of(decision),
            "user": decision.requested_by,
        }
        order = self._folder / f"{decision.run_id}.json"
        order.write_text(json.dumps(spec))
        with order.open("rb") as given, self._log(str(decision.run_id)).open("wb") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "messaging.listener.local"],
                stdin=given,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait(self, child: subprocess.Popen[bytes], run_id: str) -> Reply:
        """Wait until the ledger has the run, for less time than the broker's patience."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            ended = child.poll()
            if self._is_there(run_id):
                return Reply(Answer.started)
            if ended is not None:
                said = self._log(run_id).read_text(errors="replace").strip()[-LONGEST_SAID:]
                is_wrong = ended == UsageError.exit_code
                return Reply(Answer.rejected if is_wrong else Answer.unavailable, said)
            time.sleep(WATCH_SECONDS)
        return Reply(Answer.unavailable, f"run {run_id} is slow to begin")

    def _is_there(self, run_id: str) -> bool:
        try:
            return self._ledger.run(run_id).id == run_id
        except UsageError:
            return False

    def _log(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.log"


def main() -> int:
    """Run the pipeline that standard input describes.

    Returns:
        The exit code, as of ``learnloop run``.
    """
    from learnloop.discovery import load_pipeline
    from learnloop.runner import RunOptions, run_pipeline

    spec = json.load(sys.stdin)
    settings = load_settings()
    options = RunOptions(cause=spec["cause"], user=spec["user"], run_id=spec["run_id"])
    try:
        pipeline = load_pipeline(spec["pipeline"], settings)
        return run_pipeline(pipeline, spec["parameters"], options, settings=settings).exit_code
    except LearnLoopError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code


if __name__ == "__main__":
    sys.exit(main())
