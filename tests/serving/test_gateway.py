"""What a gateway deals out is what the rollout says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from learnloop.settings import Settings
from serving.command import serving_commands
from serving.gateway import REST_PORT, weighted_route
from serving.moves import Mover
from serving.publish import Publication
from serving.state import ModelRollout
from tests.components.served import SCORE, write_model


def weights(model: ModelRollout) -> dict[str, int]:
    route = weighted_route("dense", model, "school", "serving")
    (rule,) = route["spec"]["rules"]
    assert {backend["port"] for backend in rule["backendRefs"]} == {REST_PORT}
    return {backend["name"]: backend["weight"] for backend in rule["backendRefs"]}


def test_a_canary_gets_its_share_and_only_while_there_is_one() -> None:
    rollout = ModelRollout(stable=5)
    assert weights(rollout) == {"serving-stable": 10_000, "serving-canary": 0}
    tried = rollout.push(6, 0.025)
    assert weights(tried) == {"serving-stable": 9_750, "serving-canary": 250}
    assert weights(tried.promote()) == {"serving-stable": 10_000, "serving-canary": 0}


def test_the_route_is_that_of_callers_who_name_no_label() -> None:
    route = weighted_route("Learner_Outcome", ModelRollout(stable=5), "school", "serving")
    assert route["metadata"] == {"name": "learnloop-learner-outcome"}
    assert route["spec"]["parentRefs"] == [{"name": "school"}]
    (rule,) = route["spec"]["rules"]
    assert [match["path"] for match in rule["matches"]] == [
        {"type": "Exact", "value": f"/v1/models/Learner_Outcome{end}"}
        for end in ("", ":predict", ":classify", ":regress", "/metadata")
    ]


def test_the_command_tells_the_route_of_what_was_published(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mover = Mover(settings)
    model = write_model(tmp_path / "model", (SCORE,))
    for number, weight in ((1, 0.0), (2, 0.2)):
        publication = Publication(model.saved_model, number, f"m{number}", {}, lambda folder: None)
        mover.push("dense", publication, weight=weight, why="a test")
    serving_commands(["route", "dense"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told == weighted_route(
        "dense", mover.place.read().model("dense"), "learnloop", "learnloop-serving"
    )
    assert [one["weight"] for one in told["spec"]["rules"][0]["backendRefs"]] == [8_000, 2_000]
