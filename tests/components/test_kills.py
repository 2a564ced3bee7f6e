"""``kill -9`` inside each component in turn: the same command finishes, nothing is half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from learnloop.settings import Settings
from learnloop.store.local import LocalStore
from learnloop.store.protocol import MANIFEST, Manifest
from learnloop.summary import summarise_run
from serving.publish import why_not_as_published
from tests.components.small import small, write_source

ROOT = Path(__file__).parents[2]


def run(source: Path, project: Path, victim: str) -> int:
    """Run the pipeline in a process of its own, killed inside a step; give its exit code."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LEARNLOOP_PROJECT": str(project),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-m", "tests.components.killed", str(source), victim]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def digests(project: Path, patch: pytest.MonkeyPatch) -> dict[str, str]:
    """The content of everything that the newest run of a project gave."""
    patch.setenv("LEARNLOOP_PROJECT", str(project))
    summary = summarise_run("latest", Settings())
    assert summary.run.status == "done"
    return {name: record.content_digest for name, record in summary.outputs.items()}


@pytest.mark.slow
def test_a_kill_inside_each_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "small.csv"
    write_source(source)
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    for project in (disturbed, undisturbed):
        project.mkdir()
        (project / "learnloop.toml").touch()
    nodes = small.graph(source=str(source)).nodes
    # A branch of its own comes first: beside another victim it would be done before its turn.
    victims = sorted(nodes, key=lambda name: name != "load_champion")
    assert len(victims) == 11
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(disturbed))
    settings = Settings()
    for victim in victims:
        assert run(source, disturbed, victim) == -signal.SIGKILL, victim
        for location in LocalStore.open(settings.store_location).executions():
            assert f"/{victim}/" not in location, "it was killed before it was whole"
            folder = Path(settings.store_location) / "artifacts" / location
            Manifest.from_json((folder / MANIFEST).read_bytes(), folder).check_folder(folder)
        for version in (settings.serving_folder / "small").glob("[0-9]*"):
            assert why_not_as_published(version) == ""
    assert run(source, disturbed, "") == 0
    assert run(source, undisturbed, "") == 0
    assert digests(disturbed, monkeypatch) == digests(undisturbed, monkeypatch)
