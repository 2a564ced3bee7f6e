"""The command line as a person and a script use it: words, tables, JSON, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from learnloop.cli.main import main
from learnloop.cli.output import format_bytes, format_seconds
from learnloop.cli.progress import _describe

ROOT = Path(__file__).parents[3]
PIPELINES = """
from tests.learnloop.steps import {name}
"""


@dataclass(frozen=True)
class Told:
    """What a command said."""

    code: int
    out: str
    err: str


class Shell:
    """Types commands into a project with a few pipelines."""

    def __init__(self, package: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.package = package
        self.capsys = capsys

    def type(self, line: str) -> Told:
        with pytest.raises(SystemExit) as ended:
            main(line.split())
        captured = self.capsys.readouterr()
        code = ended.value.code or 0
        assert isinstance(code, int)
        assert "Traceback" not in captured.err + captured.out
        return Told(code, captured.out, captured.err)

    def json(self, line: str) -> dict[str, object]:
        told = self.type(line)
        assert told.code == 0, told
        document: dict[str, object] = json.loads(told.out)
        return document


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    package = f"pipelines_{uuid.uuid4().hex[:8]}"  # modules are cached by name in this process
    folder = tmp_path / package
    folder.mkdir()
    for name in ("sums", "gated", "failing"):
        (folder / f"{name}.py").write_text(PIPELINES.format(name=name))
    (folder / "__init__.py").touch()
    (folder / "broken.py").write_text("import nothing_of_this_name\n")
    (folder / "empty.py").write_text("empty = 3\n")
    (tmp_path / "learnloop.toml").write_text(f'pipelines = ["{package}"]\n')
    monkeypatch.setenv("LEARNLOOP_PROJECT", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Shell(package, capsys)


def test_run_prints_one_object(shell: Shell) -> None:
    document = shell.json("run sums --set length=1 --set start=4 --json")
    assert document["status"] == "done"
    assert str(document["run_id"]).startswith("sums-")
    steps = document["steps"]
    assert isinstance(steps, list)
    assert [(s["name"], s["status"], s["cached"]) for s in steps] == [
        ("make", "done", False),
        ("add", "done", False),
        ("total", "done", False),
    ]
    assert all(step["seconds"] >= 0 for step in steps)
    assert set(document) >= {"counts", "metrics", "blessing", "artifacts", "model"}
    again = shell.json("run sums --set length=1 --set start=4 --json")
    assert [step["cached"] for step in again["steps"]] == [True] * 3  # type: ignore[attr-defined]


def test_run_for_people(shell: Shell) -> None:
    told = shell.type("run sums --set length=0")
    assert told.code == 0
    run_id = told.out.split()[0]
    assert told.out == (
        f"{run_id} done\nreport: {Path(os.environ['LEARNLOOP_PROJECT'])}"
        f"/.learnloop/reports/{run_id}.html\n"
    )
    lines = told.err.splitlines()
    assert lines[0] == f"run {run_id}: 2 steps of sums"
    assert re.fullmatch(r"make +done +\d\.\d s", lines[1])


def test_exit_codes(shell: Shell) -> None:
    refused = shell.type("run gated --set start=1")
    assert refused.code == 1
    assert refused.err.endswith("judge refused: The number is 1, at least 5 is required.\n")
    fault = shell.type("run failing")
    assert fault.code == 3
    assert "Step 'fail' failed: ValueError: something broke" in fault.err
    usage = shell.type("run failing --set how=usage")
    assert usage.code == 2
    assert usage.err.endswith("The input is bad.\n  where:    here\n")


def test_an_override_lets_a_gate_pass(shell: Shell) -> None:
    told = shell.type("run gated --set start=1 --override judge=rehearsal")
    assert told.code == 0
    assert "judge let pass: The number is 1, at least 5 is required.\n" in told.err
    document = shell.json("show latest --json")
    judge = document["steps"][1]  # type: ignore[index]
    assert judge["override"]["reason"] == "rehearsal"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "rn sums",
            "There is no command 'rn'.\n"
            "  expected: did you mean 'run'?\n"
            "  received: 'rn'\n"
            "  next:     learnloop --help\n",
        ),
        (
            "run sms",
            "There is no pipeline 'sms'.\n"
            "  where:    packages {package} under {project}\n"
            "  expected: did you mean 'sums'?\n"
            "  received: 'sms'\n"
            "  next:     learnloop new sms\n",
        ),
        (
            "run sums --set strat=1",
            "Pipeline 'sums' has no parameter 'strat'.\n"
            "  expected: did you mean 'start'?\n"
            "  received: 'strat'\n"
            "  next:     learnloop show sums\n",
        ),
        (
            "run sums --set start",
            "--set takes a name and a value.\n  expected: --set epochs=10\n  received: 'start'\n",
        ),
        (
            "run sums --only totl",
            "Pipeline 'sums' has no step 'totl'.\n"
            "  expected: did you mean 'total'?\n"
            "  received: 'totl'\n"
            "  next:     learnloop show sums\n",
        ),
        (
            "show nothing",
            "There is no run 'nothing'.\n"
            "  expected: none exists yet\n"
            "  received: 'nothing'\n"
            "  next:     learnloop runs\n",
        ),
        (
            "run broken",
            "'{package}.broken' cannot be imported: ModuleNotFoundError: No module named "
            "'nothing_of_this_name'\n"
            "  where:    {project}/{package}/broken.py:1\n"
            "  next:     python -c 'import {package}.broken' shows the whole way there\n",
        ),
        (
            "run empty",
            "'empty' is not a pipeline.\n"
            "  where:    {package}.empty\n"
            "  expected: a function empty decorated with @pipeline\n"
            "  received: int\n",
        ),
        (
            "lineage nothing",
            "There is no artifact 'nothing'.\n"
            "  expected: a URI, an id or a content digest, as `learnloop run --json` prints\n"
            "  received: 'nothing'\n"
            "  next:     learnloop show latest --json\n",
        ),
        ("cancel latest", "There is no run 'latest'.\n"),
    ],
)
def test_mistakes_are_answered_in_words(shell: Shell, line: str, message: str) -> None:
    told = shell.type(line)
    assert told.code == 2
    project = os.environ["LEARNLOOP_PROJECT"]
    expected = message.format(package=shell.package, project=project)
    assert told.err.startswith(expected)


def test_a_setting_that_does_not_fit(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "learnloop.toml").write_text("parallelism = 0\n")
    told = shell.type("runs")
    assert (told.code, told.err.splitlines()[0]) == (
        2,
        "Setting 'parallelism' does not fit: Input should be greater than or equal to 1.",
    )
    (tmp_path / "learnloop.toml").write_text("= nonsense")
    told = shell.type("runs")
    assert (told.code, told.err.splitlines()[0]) == (2, "The settings file is not TOML.")


def test_looking_back(shell: Shell) -> None:
    first = str(shell.json("run sums --json")["run_id"])
    second = str(shell.json("run sums --set more=2 --json")["run_id"])
    listed = shell.type("runs --limit 1").out.splitlines()
    assert listed[0].split("\t")[:3] == ["run", "pipeline", "status"]
    assert listed[1].split("\t")[:3] == [second, "sums", "done"]
    assert [run["id"] for run in shell.json("runs --json")] == [second, first]  # type: ignore[index]
    told = shell.type("why latest add")
    assert told.out == (
        f"'add' ran because of this, since run {first}:\n  parameter more changed: 1 → 2\n"
    )
    assert shell.json("why latest make --json")["status"] == "cached"
    assert "has no step 'ad'" in shell.type("why latest ad").err
    assert "has no step 'ad'" in shell.type("logs latest ad").err
    logs = shell.type("logs latest add")
    assert logs.code == 0
    shown = shell.type("show latest").out
    assert shown.startswith(f"{second}: done after ")
    pipeline = shell.type("show sums").out
    assert pipeline.startswith("sums: Add one after the other, then all together.")
    assert "start\tint\t1" in pipeline
    artifact = shell.json(f"show {second} --json")["artifacts"]["add.number"]  # type: ignore[index]
    tree = shell.type(f"lineage {artifact}").out.splitlines()
    assert re.fullmatch(rf"add.number \(Evaluation \w{{12}}, {second}\)", tree[0])
    assert re.fullmatch(rf"  make.number \(Evaluation \w{{12}}, {first}\)", tree[1])
    collected = shell.json("gc --dry-run --keep-days 0 --keep-runs 1 --json")
    assert collected["runs"] == 0, "the newest run draws on the first"


def test_the_catalogue(shell: Shell) -> None:
    found = {one["name"]: one for one in json.loads(shell.type("components --json").out)}
    assert {"ingest", "validate", "transform", "train", "evaluate", "register", "push"} <= set(
        found
    )
    assert found["push"]["outputs"] == {"published": "PublishedModel"}
    assert found["push"]["import"] == "from components.push import push"


def test_help_of_every_command(shell: Shell) -> None:
    told = shell.type("--help")
    commands = re.findall(r"^  (\w+) {2,}\w", told.out, re.MULTILINE)
    assert {"new", "run", "runs", "show", "logs", "cancel", "why", "lineage", "gc"} <= set(commands)
    assert {"simulate", "components", "dag"} <= set(commands)
    for command in commands:
        assert shell.type(f"{command} --help").code == 0
    assert shell.type("--version").out == "0.1.0\n"


def test_scaffolding_refuses_what_exists(shell: Shell, tmp_path: Path) -> None:
    assert shell.type("new Bad-Name").err.startswith(
        "A pipeline's name is a Python identifier in lower case."
    )
    told = shell.type("new exam_risk")
    assert told.code == 0
    assert told.out.splitlines()[-1] == "next: learnloop run exam_risk"
    again = shell.type("new exam_risk")
    assert again.code == 2
    assert again.err.startswith("There is a pipeline 'exam_risk' already.")
    (tmp_path / "marks.csv").write_text("pupil,mark,town,ok\n1,2.5,Ulm,1\n2,3.5,Bonn,0\n")
    told = shell.type(f"new marks --source {tmp_path}/marks.csv --learner pupil --label okay")
    assert told.err == (
        "The CSV has no column 'okay'.\n"
        f"  where:    {tmp_path}/marks.csv\n"
        "  expected: did you mean 'ok'?\n"
        "  received: 'okay'\n"
        "  next:     name the columns with --learner and --label\n"
    )
    told = shell.type(f"new marks --source {tmp_path}/marks.csv --learner pupil --label ok")
    features = (tmp_path / "pipelines" / "marks" / "features.py").read_text()
    assert 'NUMBERS: tuple[str, ...] = ("mark",)' in features
    assert 'CATEGORIES: tuple[str, ...] = ("town",)' in features


def test_the_terminal_shows_a_live_table(shell: Shell) -> None:
    """Under a real terminal the steps are drawn and redrawn; standard output stays clean."""
    leader, follower = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "learnloop", "run", "sums", "--json"],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
    )
    out, _ = done.communicate(timeout=60)
    os.close(follower)
    drawn = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        drawn += part
    assert json.loads(out)["status"] == "done"
    text = drawn.decode()
    assert "total" in text
    assert "done" in text
    assert "\x1b[" in text, "colours and redrawing"


def test_progress_in_words() -> None:
    assert _describe("epoch", {"done": 3, "total": 40, "rows_per_second": 120000.0}) == (
        "epoch 3/40 · 120,000 rows/s"
    )
    assert _describe("read clicks", {"rows": 5.0}) == "read clicks · rows 5"


def test_figures_for_people() -> None:
    assert [format_seconds(s) for s in (0.04, 59.94, 61, 3600)] == [
        "0.0 s",
        "59.9 s",
        "1 min 01 s",
        "60 min 00 s",
    ]
    assert [format_bytes(b) for b in (5, 2048, 3 * 2**30)] == ["5 B", "2.0 KiB", "3.0 GiB"]
