"""The dashboards that are committed are those that the code makes, and Grafana finds them."""

from __future__ import annotations

import json
from typing import Any

from monitoring.grafana.__main__ import FOLDER, documents
from tests.monitoring.shipped import SHIPPED, read

PROVISIONING = SHIPPED / "grafana" / "provisioning"


def panels() -> list[dict[str, Any]]:
    return [panel for text in documents().values() for panel in json.loads(text)["panels"]]


def test_what_is_committed_is_what_the_code_makes() -> None:
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert committed == documents(), "run: make docs"


def test_every_panel_says_how_to_read_it_and_what_it_asks() -> None:
    for panel in panels():
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == list("ABCDEF"[: len(letters)])


def test_no_panel_lies_over_another() -> None:
    for text in documents().values():
        places = [panel["gridPos"] for panel in json.loads(text)["panels"]]
        cells = [
            (place["x"] + x, place["y"] + y)
            for place in places
            for x in range(place["w"])
            for y in range(place["h"])
        ]
        assert len(cells) == len(set(cells))
        assert all(x < 24 for x, _ in cells)


def test_the_source_is_the_one_that_is_provisioned() -> None:
    (source,) = read(PROVISIONING / "datasources" / "prometheus.yml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels()} == {source["uid"]}
    (provider,) = read(PROVISIONING / "dashboards" / "learnloop.yml")["providers"]
    assert provider["options"] == {"path": "$LEARNLOOP_DASHBOARDS"}
