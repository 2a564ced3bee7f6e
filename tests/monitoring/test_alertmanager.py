"""Who is told of what, by amtool."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.monitoring.shipped import SHIPPED, read, rules

FOLDER = SHIPPED / "alertmanager"
SEVERITIES = {rule["alert"]: rule["labels"]["severity"] for rule in rules("alert")}


def amtool(*words: str) -> str:
    done = subprocess.run(
        ["amtool", *words], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration() -> None:
    assert "SUCCESS" in amtool("check-config", "alertmanager.yml")


@pytest.mark.parametrize(
    ("severity", "receiver"),
    [
        ("page", "on_call"),
        ("ticket", "team"),
        ("info", "dashboard"),
        ("heartbeat", "dead_mans_switch"),
        ("unheard-of", "team"),
    ],
)
def test_who_is_told(severity: str, receiver: str) -> None:
    labels = (f"severity={severity}", "alertname=ServingDown")
    told = amtool("config", "routes", "test", "--config.file=alertmanager.yml", *labels)
    assert told.splitlines() == [receiver]


def test_secrets_are_files() -> None:
    text = (FOLDER / "alertmanager.yml").read_text()
    assert "password:" not in text and "credentials:" not in text
    assert text.count("_file: secrets/") == 3


def test_what_is_inhibited_is_an_alert() -> None:
    """An alert's name that was changed would inhibit nothing, without a word."""
    for rule in read(FOLDER / "alertmanager.yml")["inhibit_rules"]:
        for side in ("source_matchers", "target_matchers"):
            (pattern,) = (m for m in rule[side] if m.startswith("alertname"))
            names = re.compile(pattern.split('"')[1])
            matched = [name for name in SEVERITIES if names.fullmatch(name)]
            assert len(matched) == len(names.pattern.split("|")), pattern
