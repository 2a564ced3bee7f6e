"""Every command and file of the guide to retraining, followed to the letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from messaging.messages import REASONS
from messaging.policy import Policy, load_policies

pytestmark = pytest.mark.xdist_group("rabbitmq")

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "retraining.md").read_text()
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_guide_does_as_it_says(tmp_path: Path, broker: str) -> None:
    (tmp_path / "learnloop.toml").touch()
    kept = {n: v for n, v in os.environ.items() if not n.startswith("LEARNLOOP_")}
    environment = kept | {"PYTHONPATH": str(ROOT), "LEARNLOOP_RABBITMQ": broker}
    for _, file, text in BLOCK.findall(GUIDE):
        if file:
            (tmp_path / file).write_text(text)

    def run(line: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *line.split()],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    asking, looking = (
        text.splitlines() for kind, _, text in BLOCK.findall(GUIDE) if kind == "console"
    )
    printed = [run(line) for line in asking]
    name = printed[0].split()[0]
    assert "retrain\t2\t0" in printed[2].splitlines()
    listening = subprocess.Popen(
        [sys.executable, "-m", "learnloop", "listen", "--port", "0"],
        cwd=tmp_path,
        env=environment | {"LEARNLOOP_AIRFLOW": "http://127.0.0.1:9"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listening.stderr is not None
    for line in listening.stderr:
        if "has to wait" in line:
            break
    listening.terminate()
    listening.communicate(timeout=60)
    assert listening.returncode == 0
    told = [run(line.replace("ID", name)) for line in looking]
    states = [line.split("\t")[2] for line in told[0].splitlines()[1:]]
    assert states == ["approved", "approved"]
    assert told[1].startswith(f"{name} open\nlearner_outcome, new_data, asked by ")


def test_the_guide_tells_every_setting_with_its_default(tmp_path: Path) -> None:
    (text,) = (text for _, file, text in BLOCK.findall(GUIDE) if file)
    told = tomllib.loads(text)["default"]
    assert {name: type(getattr(Policy(), name))(value) for name, value in told.items()} == vars(
        Policy()
    )
    (tmp_path / "policies.toml").write_text(text)
    assert load_policies(tmp_path).of("learner_outcome") == Policy()
    assert all(f"`{reason}`" in GUIDE for reason in REASONS)
