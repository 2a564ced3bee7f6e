"""Watching a canary on pages served by HTTP: stopped, promoted, left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from learnloop.cli.main import main
from learnloop.errors import GateRefused, UsageError
from learnloop.ledger import open_ledger
from learnloop.ledger.journal import read_journal
from learnloop.settings import Settings
from serving.canary.figures import Figures
from serving.canary.watch import Policy, watch_canary
from serving.moves import Mover
from tests.serving.canary.pages import embedded_page, serving_page
from tests.serving.small_models import publication


@pytest.fixture
def mover(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mover:
    monkeypatch.setenv("LEARNLOOP_SERVING_POLL", "0")
    made = Mover(Settings(), "ada")
    made.push("dense", publication(tmp_path, 1), why="a test")
    made.push("dense", publication(tmp_path, 2), weight=0.1, why="a test")
    return made


def traffic(canary_errors: float, seed: int = 1) -> Callable[[], str]:
    """A page on which 200 more requests have come at every look."""
    random = np.random.default_rng(seed)
    counts = {1: [0, 0], 2: [0, 0]}

    def page() -> str:
        to_canary = int(random.binomial(200, 0.1))
        for version, requests, share in (
            (1, 200 - to_canary, 0.005),
            (2, to_canary, canary_errors),
        ):
            failed = int(random.binomial(requests, share))
            counts[version][0] += requests - failed
            counts[version][1] += failed
        return embedded_page(
            {v: (n, e, {"10": n // 2, "+Inf": n - n // 2}) for v, (n, e) in counts.items()}
        )

    return page


def figures(url: str) -> Callable[[int, int], Figures]:
    return lambda stable, canary: Figures("dense", stable, canary, (url,), (url,))


def test_a_harmful_canary_is_stopped_with_its_figures_in_the_journal(mover: Mover) -> None:
    with serving_page(traffic(canary_errors=0.2)) as url, pytest.raises(GateRefused) as caught:
        watch_canary(mover, "dense", figures(url), Policy(every=0.0, at_most=120.0))
    assert "of the canary's requests fail" in str(caught.value)
    assert caught.value.where == "version 2 of 'dense', which is stopped"
    model = mover.place.read().model("dense")
    assert (model.stable, model.canary, model.weight) == (1, None, 0.0)
    assert model.told.labels == {"stable": 1, "canary": 1}
    assert model.withdrawn == {2: " ".join(caught.value.reasons)}
    entry = read_journal(open_ledger(mover.settings.ledger_url), "serving", "dense")[-1]
    assert entry.document["move"] == "stop"
    evidence = entry.document["evidence"]
    assert evidence["log_e_values"]["errors"] >= evidence["log_e_value_needed"]
    assert evidence["canary"]["error_share"] > 10 * evidence["stable"]["error_share"]
    assert evidence["canary"]["requests"] < 200


def test_a_harmless_canary_is_promoted_only_by_policy(mover: Mover) -> None:
    with serving_page(traffic(canary_errors=0.005)) as url:
        seen: list[int] = []
        policy = Policy(every=0.0, promote_after=300, at_most=120.0)
        comparison = watch_canary(
            mover, "dense", figures(url), policy, lambda c: seen.append(c.canary.requests)
        )
    assert comparison.harm == ()
    assert seen == sorted(seen)
    assert seen[-1] >= 300
    assert mover.place.read().model("dense").stable == 2
    entry = read_journal(open_ledger(mover.settings.ledger_url), "serving", "dense")[-1]
    assert entry.document["why"] == f"no harm in {seen[-1]} requests"


def test_without_a_policy_a_person_decides(mover: Mover) -> None:
    with serving_page(traffic(canary_errors=0.005)) as url:
        watch_canary(mover, "dense", figures(url), Policy(every=0.0, at_most=0.5))
    assert mover.place.read().model("dense").canary == 2


def test_watching_ends_with_the_canary(mover: Mover) -> None:
    def end(_: object) -> None:
        mover.roll_back("dense", "a person saw something")

    with serving_page(traffic(canary_errors=0.005)) as url:
        watch_canary(mover, "dense", figures(url), Policy(every=0.0), end)
    assert mover.place.read().model("dense").stable == 1, "and no further back"
    with pytest.raises(UsageError) as caught:
        watch_canary(mover, "dense", figures("http://unused"))
    assert str(caught.value) == (
        "'dense' has no canary to watch.\n"
        "  expected: a version on trial\n"
        "  received: version 1 in service, alone\n"
        "  next:     learnloop serving canary dense VERSION --weight 0.1"
    )


def test_stopping_a_canary_that_is_none_any_more_moves_nothing(
    mover: Mover, tmp_path: Path
) -> None:
    mover.promote("dense", "it did well")
    mover.stop("dense", 2, "too late", {})
    assert mover.place.read().model("dense").stable == 2


def test_a_page_that_cannot_be_read_is_no_harm(
    mover: Mover, caplog: pytest.LogCaptureFixture
) -> None:
    page = traffic(canary_errors=0.005)
    looks = 0

    def sometimes() -> str:
        nonlocal looks
        looks += 1
        return page()

    with serving_page(sometimes) as url:
        broken = figures(url + "%")
        broken_first = figures("http://127.0.0.1:1/gone")
        watch_canary(mover, "dense", broken, Policy(every=0.0, at_most=0.2))
        watch_canary(mover, "dense", broken_first, Policy(every=0.0, at_most=0.2))
    assert mover.place.read().model("dense").canary == 2
    expected = "A look at the canary of 'dense' was left out: A server's metrics cannot be read."
    assert expected in caplog.messages


def test_the_command_exits_as_a_gate_does(mover: Mover, capsys: pytest.CaptureFixture[str]) -> None:
    def watch(*options: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["serving", "watch", "dense", "--every", "0.1", *options])
        return int(ended.value.code or 0)

    assert watch() == 2
    assert "There is nothing to watch." in capsys.readouterr().err
    with serving_page(traffic(canary_errors=0.005)) as url:
        assert watch("--metrics", url, "--at-most", "0.5") == 0
        printed = capsys.readouterr().out
        document = json.loads(printed[: printed.rindex("}") + 1])
        assert document["tolerance"]["alpha"] == 0.01
        assert printed.endswith("version 1 in service, version 2 on trial with weight 0.1\n")
    with serving_page(traffic(canary_errors=0.4)) as url:
        assert watch("--stable-metrics", url, "--canary-metrics", url, "--at-most", "120") == 1
    assert capsys.readouterr().err.startswith("Refused: ")
