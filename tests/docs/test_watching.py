"""The guide to watching: what it starts on a laptop runs, and what it types is there."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

import typer

from learnloop.cli.main import application
from tests.docs.test_guides import BLOCK, ROOT, Reader
from tests.monitoring.shipped import eventually
from tests.servers import free_port, running

GUIDE = (ROOT / "docs" / "watching.md").read_text()
PAGES = {"9464": "/metrics", "9090": "/-/ready", "9093": "/-/ready"}


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=60):
        return True
    return False


def test_what_starts_on_a_laptop(tmp_path: Path) -> None:
    (tmp_path / "learnloop.toml").touch()
    (tmp_path / "monitoring").symlink_to(ROOT / "monitoring")
    lines = next(text for kind, _, text in BLOCK.findall(GUIDE) if kind == "sh").splitlines()
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": programs, "LEARNLOOP_PROJECT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with contextlib.ExitStack() as stack:
        for number, (line, (usual, page)) in enumerate(zip(lines, PAGES.items(), strict=True)):
            port = free_port()
            words = line.replace(f":{usual}", f":{port}").split()
            words += [] if str(port) in " ".join(words) else ["--port", str(port)]
            log = tmp_path / f"{number}.log"
            stack.enter_context(running(words, port, log, environment=environment))
            eventually(lambda url=f"http://127.0.0.1:{port}{page}": answers(url))


def test_what_checks_a_rule(tmp_path: Path) -> None:
    (tmp_path / "monitoring").symlink_to(ROOT / "monitoring")
    text = next(text for kind, _, text in BLOCK.findall(GUIDE) if kind == "console")
    told = [Reader(tmp_path).type(line.split()) for line in text.splitlines()]
    assert all("SUCCESS" in one for one in told)


def test_every_command_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(learnloop [^`]+)`", GUIDE))
    assert len(named) > 20
    root: Any = typer.main.get_command(application)
    for line in named:
        command, words = root, line.split()[1:]
        while words and hasattr(command, "get_command"):
            command = command.get_command(None, words.pop(0))
            assert command is not None, line
        options = {name for one in command.params for name in one.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_figures_that_people_can_ask_for() -> None:
    """The addresses of the table are those of the targets."""
    targets = "".join(
        path.read_text() for path in (ROOT / "monitoring/prometheus/targets").glob("*.yml")
    )
    ports = set(re.findall(r"`:(\d+)/", GUIDE))
    assert ports == set(re.findall(r"127\.0\.0\.1:(\d+)", targets))
