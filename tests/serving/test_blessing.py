"""``learnloop serving check``: what may be tried out; and moves that name their version."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from learnloop.cli.main import main
from learnloop.settings import Settings
from serving.places import open_place
from tests.serving.judged import NAME, publish_judged
from tests.serving.small_models import saved_model

pytestmark = pytest.mark.xdist_group("publishing")


@pytest.fixture
def learnloop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("LEARNLOOP_SERVING_POLL", "0")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["serving", *words])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


def test_who_may_be_tried_out(
    settings: Settings, tmp_path: Path, learnloop: Callable[..., tuple[int, str, str]]
) -> None:
    publish = partial(
        publish_judged,
        settings.model_copy(update={"serving_poll": 0.0}),
        lambda version: saved_model(tmp_path / str(version), str(version)),
    )

    def refused(version: int, reason: str) -> tuple[int, str, str]:
        where = f"  where:    version {version} of 'exams'\n"
        return 1, "", f"Refused: {reason}\n{where}  next:     learnloop serving status exams\n"

    publish()
    assert learnloop("check", NAME, "1") == refused(1, "Version 1 is in service already.")
    publish(weight=0.1)
    blessed = "Version 2 was blessed with an AUC of 0.813 on 4,000 rows.\n"
    assert learnloop("check", NAME, "challenger") == (0, "2\n", blessed)
    assert learnloop("check", NAME, "2") == (0, "2\n", blessed)
    publish(is_good=False, weight=0.2)
    objection = "Version 3 is not blessed: The AUC is 0.612, at least 0.700 is wanted."
    assert learnloop("check", NAME, "challenger") == refused(3, objection)
    trial = "Version 3 is on trial with 20% of the callers."
    assert learnloop("check", NAME, "2") == refused(2, trial)
    publish(run_id="another-place", weight=0.2)
    lost = "What version 4 was judged by is no longer on record."
    assert learnloop("check", NAME, "4") == refused(4, lost)
    folder = str(saved_model(tmp_path / "by hand"))
    learnloop("push", folder, "--name", NAME, "--weight", "0.2")
    by_hand = "Version 5 was pushed by hand: no run judged it."
    assert learnloop("check", NAME, "5") == refused(5, by_hand)
    assert learnloop("check", NAME, "champion") == (
        2,
        "",
        "There is no such version of 'exams'.\n"
        "  expected: a number, or challenger once a run has registered one\n"
        "  received: 'champion'\n"
        "  next:     learnloop serving status exams\n",
    )
    assert learnloop("check", NAME, "9")[2].startswith("Version 9 of 'exams' is not published.")


def test_a_move_that_names_its_version_moves_no_other(
    settings: Settings, tmp_path: Path, learnloop: Callable[..., tuple[int, str, str]]
) -> None:
    for name in ("one", "two", "three"):
        folder = str(saved_model(tmp_path / name, name))
        learnloop("push", folder, "--name", "dense", "--weight", "0.2")

    def callers_get() -> tuple[int, int | None]:
        model = open_place(settings).read().model("dense")
        return model.stable, model.canary

    another = (
        "The canary of 'dense' was changed meanwhile.\n"
        "  expected: version 2\n"
        "  received: {}\n"
        "  next:     learnloop serving status dense\n"
    )
    assert learnloop("promote", "dense", "--version", "2") == (2, "", another.format("version 3"))
    assert callers_get() == (1, 3)
    reason = ("--reason", "a test")
    for version in ("1", "2"):
        assert learnloop("rollback", "dense", "--version", version, *reason)[0] == 0
        assert callers_get() == (1, 3), version
    watch = ("watch", "dense", "--metrics", "http://127.0.0.1:1/nobody")
    assert learnloop(*watch, "--version", "2")[0] == 0, "its trial is over"
    assert learnloop("promote", "dense", "--version", "3")[0] == 0
    assert callers_get() == (3, None)
    assert learnloop("promote", "dense", "--version", "2") == (2, "", another.format("no canary"))
    assert learnloop("rollback", "dense", "--version", "3", *reason)[0] == 0
    assert callers_get() == (1, None)
    assert learnloop("rollback", "dense", "--version", "3", *reason)[0] == 0
    assert callers_get() == (1, None), "and no further back"
