"""Jenkinsfiles, executed by Groovy without Jenkins; see ``pipeline.groovy``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JENKINS = ROOT / "jenkins"
GROOVY = Path("/usr/share/groovy/lib")
"""Debian's Groovy is 2.4.21, which is Jenkins' own."""

PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def groovy(program: str, *words: object) -> list[str]:
    """The command line of a program of Groovy's."""
    if not GROOVY.is_dir():
        assert not os.environ.get("CI"), "CI needs Groovy: apt-get install groovy"
        pytest.skip("Groovy is not installed: apt-get install groovy")
    java = ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    opened = ["--add-opens", "java.base/java.lang=ALL-UNNAMED"]
    return [*java, *opened, "-cp", f"{GROOVY}/*", program, *map(str, words)]


@dataclass
class Build:
    """A build of a Jenkinsfile.

    Args:
        process: Groovy's process.
        answers: Where the answer to ``input`` is written.
        lines: What was printed so far.
    """

    process: subprocess.Popen[str]
    answers: Path
    lines: list[str] = field(default_factory=list)

    def answer(self, words: str) -> None:
        """Answer the input: ``proceed NAME`` or ``abort NAME``."""
        self.answers.write_text(f"{words}\n")

    def wait_for(self, words: str) -> None:
        """Wait until a line with these words is printed."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if words in line:
                return
        raise AssertionError(f"'{words}' was not printed:\n{self.printed}")

    @property
    def printed(self) -> str:
        """All that was printed so far."""
        return "\n".join(self.lines)

    @property
    def result(self) -> str:
        """How it ended, once it has."""
        if not self.lines or not self.lines[-1].startswith("result: "):
            self.wait_for("result: ")
        assert self.process.wait(60) == 0
        return self.lines[-1].removeprefix("result: ")

    @property
    def stages(self) -> list[str]:
        """The stages that were entered."""
        return re.findall(r"^stage: (.*)$", self.printed, re.MULTILINE)


@dataclass(frozen=True)
class Agent:
    """A workspace with the repository's ``jenkins`` folder, and what builds find there.

    Args:
        folder: The workspace.
        environment: Variables of all builds.
        credentials: By id: a text, or ``username`` and ``password``.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(JENKINS, self.folder / "jenkins", dirs_exist_ok=True)

    def start(
        self,
        job: str | Path,
        parameters: Mapping[str, str] = {},
        tag: str = "",
        cause: str = "a test",
    ) -> Build:
        """Start a build of ``jenkins/JOB.Jenkinsfile``, or of a file."""
        jenkinsfile = job if isinstance(job, Path) else JENKINS / f"{job}.Jenkinsfile"
        answers = self.folder / "answers"
        answers.unlink(missing_ok=True)
        environment = {**self.environment, "BUILD_URL": f"https://jenkins.test/job/{job}/7/"}
        settings = {
            "workspace": str(self.folder),
            "answers": str(answers),
            "cause": cause,
            "parameters": dict(parameters),
            "environment": environment | ({"TAG_NAME": tag} if tag else {}),
            "credentials": dict(self.credentials),
        }
        file = self.folder / "build.json"
        file.write_text(json.dumps(settings))
        return Build(
            subprocess.Popen(
                groovy(
                    "groovy.ui.GroovyMain",
                    Path(__file__).with_name("pipeline.groovy"),
                    jenkinsfile,
                    file,
                ),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=self.variables(),
            ),
            answers,
        )

    def type(
        self, words: Sequence[str], more: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the workspace."""
        return subprocess.run(
            words,
            cwd=self.folder,
            env={**self.variables(), **self.environment, **more},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def variables(self) -> dict[str, str]:
        """What this process's own environment gives to an agent."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("LEARNLOOP_", "PIP_"))}
        return {
            **kept,
            "PATH": PROGRAMS,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PIP_CONFIG_FILE": os.devnull,
        }
