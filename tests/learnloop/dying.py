"""Processes for the tests of faults: one that kills itself at a named place, one that only looks.

They are forked by multiprocessing's server, which has the framework loaded; a kill is a real one.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from learnloop.errors import CorruptArtifact
from learnloop.runner import run_pipeline
from learnloop.settings import Settings
from learnloop.store import open_store
from learnloop.store.protocol import Manifest
from tests.learnloop import steps

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__, "learnloop.ledger.migrate", "learnloop.store.local"])


def start(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a function in a process of its own, with this process's environment."""
    process = _processes.Process(target=_within, args=(dict(os.environ), function, arguments))
    process.start()
    return process


def _within(
    environment: Mapping[str, str], function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)


def run(parameters: Mapping[str, Any]) -> None:
    """Run the pipeline; the exit code is 0 if it is done."""
    ended = run_pipeline(steps.sums, parameters)
    raise SystemExit(0 if ended.status == "done" else str(ended.error))


def run_and_die(place: str, moment: str, call: int, parameters: Mapping[str, Any]) -> None:
    """Run the pipeline and be killed at a call of a function.

    Args:
        place: ``module:function`` or ``module:Class.method``.
        moment: ``before`` or ``after`` the call, or ``inside`` for a context manager's end.
        call: Which call of it, from 1.
        parameters: The pipeline's.
    """
    module_name, _, path = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)
    calls = 0
    counting = threading.Lock()

    def is_due() -> bool:
        nonlocal calls
        with counting:
            calls += 1
            return calls == call

    def dying(*arguments: Any, **named: Any) -> Any:
        due = is_due()
        if due and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **named)
        if due and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    @contextmanager
    def dying_inside(*arguments: Any, **named: Any) -> Iterator[Any]:
        with original(*arguments, **named) as given:
            yield given
            if is_due():
                os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying_inside if moment == "inside" else dying)
    run(parameters)


ROUNDS = 5
"""A reader looks at least so often."""


def look(location: str, home: str, findings: str, stop: str) -> None:
    """Verify all that is published, over and over, until a file ``stop`` is there."""
    store = open_store(location, home)
    rounds = 0
    with Path(findings).open("w") as file:
        while rounds < ROUNDS or not Path(stop).exists():
            for execution in store.executions():
                try:
                    store.verify(execution, _manifest(store, execution).digest())
                except CorruptArtifact as fault:
                    file.write(f"{fault}\n")
            rounds += 1
            time.sleep(0.002)
        file.write("looked\n")


def _manifest(store: Any, execution: str) -> Manifest:
    manifest: Manifest = store._manifest(execution)
    return manifest


@contextmanager
def reader(settings: Settings, folder: Path) -> Iterator[None]:
    """Have another process look at the store for the length of a block; it must find no fault."""
    findings, stop = folder / "findings", folder / "stop"
    stop.unlink(missing_ok=True)
    home = str(folder / "reader")
    process = start(look, settings.store_location, home, str(findings), str(stop))
    try:
        yield
    finally:
        stop.touch()
        process.join(60)
    assert findings.read_text() == "looked\n"
