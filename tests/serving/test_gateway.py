"""What a gateway deals out is what the rollout says, and the manifests fit together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from learnloop.settings import Settings
from serving.command import serving_commands
from serving.configs import BATCHING, MONITORING, TRACKS
from serving.gateway import REST_PORT, weighted_route
from serving.moves import Mover
from serving.publish import Publication
from serving.state import ModelRollout
from tests.components.served import SCORE, write_model

MANIFESTS = Path(__file__).parents[2] / "serving" / "kubernetes.yaml"


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


@pytest.mark.parametrize("label", TRACKS)
def test_each_service_finds_servers_of_its_label(label: str) -> None:
    objects = {
        (one["kind"], one["metadata"]["name"]): one["spec"]
        for one in yaml.safe_load_all(MANIFESTS.read_text())
    }
    name = f"learnloop-serving-{label}"
    service, deployment = objects["Service", name], objects["Deployment", name]
    pod = deployment["template"]
    assert deployment["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert service["selector"] == deployment["selector"]["matchLabels"]
    (container,) = pod["spec"]["containers"]
    arguments = dict(word.removeprefix("--").split("=", 1) for word in container["args"])
    assert arguments["model_config_file"] == f"/models/{TRACKS[label]}"
    assert arguments["batching_parameters_file"] == f"/models/{BATCHING}"
    assert arguments["monitoring_config_file"] == f"/models/{MONITORING}"
    assert float(arguments["model_config_file_poll_wait_seconds"]) == Settings().serving_poll
    assert REST_PORT in [port["port"] for port in service["ports"]]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
