"""``erase``, ``hold`` and ``retention`` as a person types them: words printed, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from learnloop.cli.main import main
from learnloop.settings import Settings
from tests.privacy.quick import THEM, run, write_source

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def learnloop(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Typed:
    monkeypatch.setenv("LEARNLOOP_PSEUDONYM_KEYS", "2026:" + "k" * 32)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


def test_erase_tells_what_it_did_and_never_whom(
    learnloop: Typed, settings: Settings, tmp_path: Path
) -> None:
    source = write_source(tmp_path)
    run(settings, source)
    code, out, _ = learnloop("erase", THEM, "--reason", "request 31")
    lines = out.splitlines()
    assert code == 0 and THEM not in out
    assert lines[0] == "place\trows removed"
    assert "artifacts of quick/ingest, 1 execution\t2" in lines
    assert (
        f"next: learnloop run quick --set source={source} --set tell=false --set column=learner"
        in lines
    )
    assert lines[-1].startswith(f"Receipt: {settings.home_folder / 'erasures'}")
    code, out, _ = learnloop("erase", THEM, "--reason", "request 31", "--json")
    document = json.loads(out)
    assert code == 0 and THEM not in out
    assert json.loads(Path(document.pop("file")).read_text()) == document


def test_who_is_held_is_listed_refused_and_released(learnloop: Typed) -> None:
    code, out, _ = learnloop("hold", THEM, "--reason", "case 17")
    held, *_, reason = out.splitlines()[1].split("\t")
    assert (code, reason) == (0, "case 17") and held.startswith("2026.") and THEM not in out
    assert learnloop("hold") == (0, out, "")
    code, _, told = learnloop("erase", THEM, "--reason", "request 31")
    assert code == 2 and THEM not in told
    assert told.startswith("This learner is under legal hold, and nothing was erased.\n")
    (entry,) = json.loads(learnloop("hold", "--json")[1])
    assert (entry["pseudonym"], entry["reason"]) == (held, "case 17")
    code, out, _ = learnloop("hold", THEM, "--release", "--reason", "case 17 is closed")
    assert (code, out) == (0, "held\tsince\tby\treason\n")
    assert learnloop("erase", THEM, "--reason", "request 31")[0] == 0


REFUSED = [
    (("hold", "--reason", "case 17"), "This names nobody."),
    (("hold", "--release"), "This names nobody."),
    (("hold", THEM), "What is kept needs a reason that does not name the person."),
    (("hold", THEM, "--release", "--reason", "x"), "This learner is not held."),
]


@pytest.mark.parametrize(("words", "what"), REFUSED)
def test_what_is_refused(learnloop: Typed, words: tuple[str, ...], what: str) -> None:
    code, _, told = learnloop(*words)
    assert (code, told.splitlines()[0]) == (2, what)


def test_retention_without_periods_keeps_all(learnloop: Typed) -> None:
    assert learnloop("retention", "--dry-run")[1] == (
        "what\tperiod\twould go\nevents\t\t0\npredictions\t\t0\nfeatures\t\t0\nartifacts\t\t0\n"
    )
    documents = json.loads(learnloop("retention", "--json")[1])
    assert documents[0] == {"what": "events", "period": "", "removed": 0}
