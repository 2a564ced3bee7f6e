"""Every command and file of the guides, followed to the letter in an empty project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Reader:
    """A person who does what a guide says."""

    project: Path

    def follow(self, guide: str) -> list[str]:
        """Write its files, type its commands, run its Python; give what was printed."""
        printed = []
        for kind, file, text in BLOCK.findall((ROOT / "docs" / guide).read_text()):
            if file:
                path = self.project / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            elif kind == "console":
                printed += [self.type(line.split()) for line in text.splitlines()]
            elif kind == "python":
                printed.append(self.type(["python", "-c", text]))
        return printed

    def type(self, words: list[str]) -> str:
        done = subprocess.run(
            words,
            cwd=self.project,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("LEARNLOOP_", "AIRFLOW"))}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "PATH": programs, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.mark.timeout(600)
def test_the_authors_and_the_operators_guide(tmp_path: Path) -> None:
    (tmp_path / "learnloop.toml").touch()
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").touch()
    reader = Reader(tmp_path)
    printed = "\n".join(reader.follow("authoring.md"))
    assert (tmp_path / "models" / "exams" / "1" / "saved_model.pb").is_file()
    assert "'train' ran because of this, since run exams-" in printed
    assert "parameter epochs changed: 80 → 60" in printed
    assert "'ingest' was reused from execution" in printed
    assert re.search(r"exams\s+0 5 \* \* 1\s+11\s+dags/exams.py", printed)
    assert "{'enough': True, 'rows': {" in printed
    airflow = [line for line in printed.splitlines() if line.startswith("exams-")]
    assert airflow[-1].endswith("done") or "exams" in airflow[-1]
    pipeline = (tmp_path / "pipelines" / "exams.py").read_text()
    code = [line for line in pipeline.splitlines() if line.strip()]
    assert len(code) < 30, f"the guide promises under 30 lines, it takes {len(code)}"
    told = "\n".join(reader.follow("operating.md"))
    assert "counting" in told
