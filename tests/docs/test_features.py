"""Every command and file of ``docs/features.md``, followed to the letter in an empty project."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.test_guides import Reader

PORT = "6566"
"""The guide's port; any that is free takes its place."""


@dataclass(frozen=True)
class FeatureReader(Reader):
    """Also starts what a guide leaves running."""

    started: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def type(self, words: list[str]) -> str:
        if words[-1] != "&":
            port = next(iter(self.started), PORT)
            return super().type([word.replace(PORT, port) for word in words])
        server = subprocess.Popen(
            [word.replace(PORT, "0") for word in words[:-1]],
            cwd=self.project,
            env=self._environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        told = server.stdout.readline()
        self.started[told.strip().rpartition(":")[2]] = server
        return told


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[FeatureReader]:
    reader = FeatureReader(tmp_path)
    yield reader
    for server in reader.started.values():
        server.terminate()
        server.communicate(timeout=60)


@pytest.mark.timeout(600)
def test_the_guide_of_features(reader: FeatureReader) -> None:
    (reader.project / "school").mkdir()
    (reader.project / "school" / "__init__.py").touch()
    made, planned, applied, listed, trained, *rest = reader.follow("features.md")
    assert made == ""
    assert planned == applied.replace(" added\n", " would be added\n")
    assert applied.splitlines()[-1] == "+ feature service outcome added"
    assert "outcome\tfeature service\t1\tapplied\t5\t\t\n" in listed
    clicks = [(row[0], row[2], row[-1]) for row in map(str.split, trained.splitlines()[1:])]
    assert clicks == [
        ("6", "61.0", "12.2"),
        ("7", "72.0", "14.4"),
        ("7", "71.0", "7.1"),
        ("99", "NaN", "NaN"),
    ]
    written, read, served, listening, called, pushed, newest, compacted, *rest = rest
    (described,) = rest
    assert [line.split("\t")[:2] for line in written.splitlines()[1:]] == [
        ["activity", "50"],
        ["practice", "0"],
    ]
    assert read == (
        "feature\tvalue\nclicks\t71\nactive_days\t0\nattempts\tNone\nshare_correct\tNone\n"
        "clicks_per_day_left\t7.1\nactivity: PRESENT\npractice: NOT_FOUND\n"
    )
    assert served.splitlines()[:2] == [
        "{'clicks': 71, 'active_days': 0, 'attempts': None, 'share_correct': None, "
        "'clicks_per_day_left': 7.1}",
        "{'activity': 'PRESENT', 'practice': 'NOT_FOUND'}",
    ]
    (port,) = reader.started
    assert listening == f"Online features of outcome: http://127.0.0.1:{port}\n"
    assert "clicks 71 PRESENT\n" in called
    assert "attempts None NOT_FOUND\n" in called
    assert pushed.splitlines() == [
        "Pushed(rows=1, new=1, views=('practice',))",
        "Pushed(rows=1, new=0, views=('practice',))",
    ]
    assert newest == "feature\tvalue\nattempts\t12\npractice: PRESENT\n"
    assert compacted == "push source\tparts put together\npractice_stream\t0\n"
    assert described.startswith("name:        activity\n")
    assert "up to" in (reader.project / "activity.html").read_text()
