"""``learnloop features`` as a person types it, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VIEWS = """
from datetime import timedelta

from feature_store.definitions import FeatureService, FeatureView
from feature_store.fields import Entity, FeatureType, Field, Sensitivity
from feature_store.sources import ParquetSource

learner = Entity("learner", (Field("learner", FeatureType.INT64, Sensitivity.IDENTIFIER),))
activity = FeatureView(
    "activity",
    (learner,),
    (Field("clicks", FeatureType.INT64, Sensitivity.BEHAVIOURAL, "Clicks on a day."),),
    ParquetSource("activity_files", "data/activity", "day"),
    ttl=timedelta(days=30),
    owner="analytics",
    description="What a learner did.",
    tags={"team": "a"},
    purposes=("support",),
)
outcome = FeatureService("outcome", (activity,), purpose="support")
"""


@dataclass(frozen=True)
class Shell:
    """Types commands in a project."""

    project: Path

    def type(self, line: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "learnloop", "features", *line.split()],
            cwd=self.project,
            env={**_environment(), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout

    def define(self, text: str) -> None:
        (self.project / "school" / "feature_views.py").write_text(text)


def _environment() -> dict[str, str]:
    return {name: v for name, v in os.environ.items() if not name.startswith("LEARNLOOP_")}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "learnloop.toml").write_text('features = ["school"]\n')
    (tmp_path / "school").mkdir()
    (tmp_path / "school" / "__init__.py").touch()
    shell = Shell(tmp_path)
    shell.define(VIEWS)
    return shell


def test_from_a_definition_to_one_in_force(shell: Shell) -> None:
    added = ("entity learner", "source activity_files", "feature view activity")
    whole = (*added, "feature service outcome")
    assert shell.type("plan") == "".join(f"+ {what} would be added\n" for what in whole)
    assert shell.type("apply") == "".join(f"+ {what} added\n" for what in whole)
    assert shell.type("apply") == "Nothing changed: what is applied is what is defined.\n"
    assert shell.type("list") == (
        "name\tkind\tversion\tstate\tfeatures\towner\twhat it is\n"
        "activity\tfeature view\t1\tapplied\t1\tanalytics\tWhat a learner did.\n"
        "outcome\tfeature service\t1\tapplied\t1\t\t\n"
    )
    shell.define(VIEWS.replace("days=30", "days=60").replace('"support"', '"research"'))
    assert shell.type("plan") == (
        "~ feature view activity would be changed\n"
        '    purposes: ["support"] -> ["research"]\n'
        "    ttl: 30 days, 0:00:00 -> 60 days, 0:00:00\n"
        "~ feature service outcome would be changed\n"
        "    purpose: support -> research\n"
    )


def test_one_view_described(shell: Shell) -> None:
    applied = json.loads(shell.type("apply --json"))
    assert applied[0] == {"action": "added", "kind": "entity", "name": "learner", "details": []}
    document = json.loads(shell.type("describe activity --json"))
    moment = document["applied"]
    assert shell.type("describe activity") == (
        "name:        activity\n"
        "kind:        feature view\n"
        "description: What a learner did.\n"
        "version:     1\n"
        "state:       applied\n"
        f"applied:     {moment}\n"
        "entities:    learner\n"
        "join keys:   learner (int64)\n"
        "source:      activity_files: data/activity\n"
        "happened:    day\n"
        "recorded:    as it happens\n"
        "ttl:         30 days, 0:00:00\n"
        "online:      yes\n"
        "purposes:    support\n"
        "owner:       analytics\n"
        "tags:        team=a\n"
        "\n"
        "feature\ttype\tsensitivity\tview\twhat it is\n"
        "clicks\tint64\tbehavioural\tactivity\tClicks on a day.\n"
    )


def test_definitions_that_cannot_be_applied(shell: Shell) -> None:
    shell.type("apply")
    shell.define(VIEWS.replace('"clicks", FeatureType.INT64', '"clicks", FeatureType.STRING'))
    assert shell.type("apply", code=2) == (
        "Values of 'clicks' that are stored do not fit its new type.\n"
        "  where:    feature view 'activity', field 'clicks'\n"
        "  expected: int64, or a type that holds every value of it\n"
        "  received: string\n"
        "  next:     give the new feature a name of its own\n"
    )
    shell.define(VIEWS.replace("timedelta(days=30)", "timedelta(0)"))
    refused = shell.type("plan", code=2)
    assert refused == (
        "A feature must hold for some time.\n"
        "  where:    feature view 'activity', ttl\n"
        "  expected: more than nothing, or None for ever\n"
        "  received: datetime.timedelta(0)\n"
    )
