"""The steps of the Dockerfile, as far as they can be looked at without a container engine."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.kubernetes.rendered import ROOT

TEXT = (ROOT / "Dockerfile").read_text()
STEPS = re.findall(r"^([A-Z]+) ((?:.*\\\n)*.*)$", TEXT, re.MULTILINE)
DEVELOPMENT = {"hypothesis", "import-linter", "kubernetes-validate", "mypy", "pytest", "ruff"}


def copied() -> set[str]:
    """What of the repository goes into the image."""
    places = [
        words.split()[:-1] for step, words in STEPS if step == "COPY" and "--from" not in words
    ]
    return {place for group in places for place in group}


def test_what_is_copied_is_tracked_and_not_ignored() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = listed.stdout.splitlines()
    for place in copied():
        assert any(file == place or file.startswith(f"{place}/") for file in files), place
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == {
        place.partition("/")[0] for place in copied()
    }


def test_both_stages_are_one_pinned_python() -> None:
    bases = {words.split()[0] for step, words in STEPS if step == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases.pop())


def test_it_is_installed_as_scripts_setup_does() -> None:
    setup = (ROOT / "scripts" / "setup").read_text()
    for command in (
        ".venv/bin/python -m pip install -q --disable-pip-version-check uv",
        "uv pip install -q --compile-bytecode",
        "uv pip install -q --no-deps --no-build-isolation -e .",
    ):
        assert command in TEXT and command in setup


def test_what_installs_is_pinned() -> None:
    (installer,) = re.findall(r"pip install -q --disable-pip-version-check (\S+)", TEXT)
    assert re.fullmatch(r"uv==\d+\.\d+\.\d+", installer)


def named(need: Requirement) -> tuple[str, frozenset[str]]:
    return canonicalize_name(need.name), frozenset(need.extras)


def test_every_package_is_locked_and_none_is_for_development_alone() -> None:
    """``-c requirements.lock --extra all``: what that extra needs, and what those need in turn."""
    lock = (ROOT / "requirements.lock").read_text()
    locked = {canonicalize_name(line.partition("==")[0]) for line in lock.splitlines()}
    production, development = (ROOT / "requirements.in").read_text().split("# [dev]")
    needed: set[tuple[str, frozenset[str]]] = set()
    waiting = [
        named(Requirement(line)) for line in re.findall(r"^[\w].*?(?=\s|$)", production, re.M)
    ]
    while waiting:
        one = name, extras = waiting.pop()
        if one in needed:
            continue
        needed.add(one)
        for text in importlib.metadata.requires(name) or ():
            need = Requirement(text)
            marks = [{"extra": extra} for extra in ("", *extras)]
            if need.marker is None or any(need.marker.evaluate(mark) for mark in marks):
                waiting.append(named(need))
    names = {name for name, _ in needed}
    assert {"tensorflow", "apache-airflow-providers-cncf-kubernetes", "pika"} < names < locked
    assert " -c requirements.lock -r setup.py --extra all " in TEXT
    assert "pytest" in development and not names & DEVELOPMENT


def test_it_runs_as_the_user_of_the_manifests_and_says_what_it_can() -> None:
    told = dict(STEPS)
    assert (told["USER"], told["CMD"]) == ("65532:65532", '["learnloop", "--help"]')
    assert "ENTRYPOINT" not in told  # Airflow's executor gives a command line and no command
    variables = dict(re.findall(r"(\w+)=(\S+)", told["ENV"]))
    assert variables["LEARNLOOP_PROJECT"] == told["WORKDIR"] == "/opt/learnloop"
