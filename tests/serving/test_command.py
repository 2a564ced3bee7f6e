"""``learnloop serving`` as a person types it: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from learnloop.cli.main import main
from learnloop.settings import Settings
from tests.serving.small_models import saved_model


@pytest.fixture(autouse=True)
def _project(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNLOOP_SERVING_POLL", "0")


@pytest.fixture
def learnloop(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["serving", *words])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


def test_a_version_is_pushed_tried_promoted_and_taken_back(learnloop, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folders = [str(saved_model(tmp_path / name, name)) for name in ("one", "two", "three")]
    code, out, _ = learnloop("push", folders[0], "--name", "dense")
    assert code == 0
    assert out.splitlines()[0].endswith("/models/dense/1")
    assert out.splitlines()[1] == "dense: version 1 in service"
    assert learnloop("push", folders[1], "--name", "dense")[1].endswith(
        "dense: version 2 in service\n"
    )
    out = learnloop("push", folders[2], "--name", "dense", "--weight", "0.2")[1]
    assert out.endswith("dense: version 2 in service, version 3 on trial with weight 0.2\n")
    assert learnloop("canary", "dense", "3", "--weight", "0.5")[1] == (
        "dense: version 2 in service, version 3 on trial with weight 0.5\n"
    )
    document = json.loads(learnloop("status", "--json")[1])
    assert document["models"]["dense"] == {
        "stable": 2,
        "canary": 3,
        "weight": 0.5,
        "loaded": [1, 2, 3],
        "labels": {"stable": 2, "canary": 3},
        "settled": True,
        "earlier": [1],
        "published": [1, 2, 3],
        "withdrawn": {},
    }
    assert learnloop("promote", "dense")[1] == "dense: version 3 in service\n"
    assert learnloop("rollback", "dense", "--reason", "slow")[1] == "dense: version 2 in service\n"
    assert learnloop("rollback", "dense", "--to", "1", "--reason", "wrong")[1] == (
        "dense: version 1 in service\n"
    )
    assert learnloop("status", "dense")[1].splitlines() == [
        "model\tstable\tcanary\tweight\tloaded\tpublished\twithdrawn",
        "dense\t1\t\t0\t1\t1 2 3\t2 3",
    ]
    moves = [line.split("\t")[2:] for line in learnloop("history", "dense")[1].splitlines()]
    assert moves == [
        ["move", "from", "to", "why"],
        ["push", "", "1", "pushed by hand"],
        ["push", "1", "2", "pushed by hand"],
        ["push", "2", "2 + 3 at 0.2", "pushed by hand"],
        ["canary", "2 + 3 at 0.2", "2 + 3 at 0.5", "tried out by hand"],
        ["promote", "2 + 3 at 0.5", "3", "promoted by hand"],
        ["rollback", "3", "2", "slow"],
        ["rollback", "2", "1", "wrong"],
    ]
    entries = json.loads(learnloop("history", "dense", "--json")[1])
    assert [entry["document"]["move"] for entry in entries[-2:]] == ["rollback", "rollback"]


def test_a_typing_error_is_answered_with_what_there_is(learnloop, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    learnloop("push", str(saved_model(tmp_path / "one")), "--name", "dense")
    unknown = (
        "There is no published model 'dnse'.\n"
        "  expected: did you mean 'dense'?\n"
        "  received: 'dnse'\n"
        "  next:     learnloop serving status\n"
    )
    for words in (
        ("status", "dnse"),
        ("canary", "dnse", "1"),
        ("promote", "dnse"),
        ("rollback", "dnse", "--reason", "x"),
        ("history", "dnse"),
    ):
        assert learnloop(*words) == (2, "", unknown), words
    assert learnloop("rollback", "dense", "--to", "7", "--reason", "x") == (
        2,
        "",
        "Version 7 of 'dense' is not published.\n"
        "  expected: one of 1\n"
        "  received: 7\n"
        "  next:     learnloop serving status dense\n",
    )
    assert learnloop("canary", "dense", "1", "--weight", "1.5")[0] == 2
    assert learnloop("rollback", "dense")[0] == 2, "a rollback says why"


def test_what_is_no_model_is_not_pushed(learnloop, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert learnloop("push", str(tmp_path / "missing"), "--name", "dense") == (
        2,
        "",
        "This is no model.\n"
        f"  where:    {tmp_path / 'missing'}\n"
        "  expected: a folder with saved_model.pb, or a Model artifact's\n"
        "  received: no folder\n"
        "  next:     learnloop show latest --json, to see where a run published its model\n",
    )


def test_an_empty_place_has_an_empty_status(learnloop, settings: Settings) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = learnloop("status", "--json")
    assert code == 0
    assert json.loads(out) == {
        "location": str(settings.serving_folder),
        "models": {},
        "trained_with_erased": {},
        "unrecorded": 0,
    }
    assert not settings.serving_folder.exists(), "looking makes nothing"


def test_looking_imports_nothing_heavy(settings: Settings) -> None:
    import subprocess
    import sys

    script = (
        "import sys\n"
        "from learnloop.cli.main import main\n"
        "try:\n"
        "    main(['serving', 'status'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'mlflow', 'numpy', 'pandas', 'pyarrow', 'boto3'}\n"
        "print(sorted((heavy | {'google.protobuf'}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
