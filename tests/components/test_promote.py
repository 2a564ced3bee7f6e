"""Which version becomes the champion: one that is blessed and in service, and no other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.champion import open_registry
from components.promote import Standing, promote
from learnloop.ledger import open_ledger
from learnloop.ledger.journal import read_journal
from learnloop.pipeline import pipeline
from learnloop.settings import Settings
from serving.moves import Mover
from serving.registry import CHAMPION
from tests.serving.judged import NAME, publish_judged
from tests.serving.small_models import saved_model

pytestmark = pytest.mark.xdist_group("publishing")


@pipeline
def looking() -> None:
    """Look whether the challenger deserves to be the champion."""
    promote(name=NAME)


@pytest.fixture
def register(settings: Settings, tmp_path: Path) -> Callable[..., str]:
    """Makes a version whose run is on record, and publishes it."""
    at_once = settings.model_copy(update={"serving_poll": 0.0})
    return partial(
        publish_judged, at_once, lambda version: saved_model(tmp_path / str(version), str(version))
    )


def mover(settings: Settings) -> Mover:
    return Mover(settings.model_copy(update={"serving_poll": 0.0}), "ada")


def look(settings: Settings) -> tuple[str, dict[str, Any]]:
    run = looking.run_in(settings)
    assert run.status == "done", run.error
    return run.results["promote"].status, run.artifacts["verdict"].load()


def test_what_is_blessed_and_in_service_becomes_the_champion(
    settings: Settings, register: Callable[..., str]
) -> None:
    register()
    registry = open_registry(settings)
    why = "Version 1 is in service and was blessed with an AUC of 0.813 on 4,000 rows."
    verdict = {"blessed": True, "reasons": [why], "name": NAME, "version": "1", "champion": None}
    assert look(settings) == ("done", verdict)
    assert registry.alias_version(NAME, CHAMPION) == "1"
    (entry,) = read_journal(open_ledger(settings.ledger_url), CHAMPION, NAME)
    assert entry.document == {"from": None, "to": "1", "why": why}
    again = {**verdict, "blessed": False, "reasons": ["Version 1 is the champion already."]}
    assert look(settings) == ("done", {**again, "champion": "1"})

    register()
    assert look(settings)[1]["blessed"]
    assert registry.alias_version(NAME, CHAMPION) == "2"
    registry.set_alias(NAME, CHAMPION, "1")  # as by hand: the step's effect is undone
    assert look(settings)[0] == "done"
    assert registry.alias_version(NAME, CHAMPION) == "2"

    register()
    mover(settings).roll_back(NAME, "Complaints.")
    assert look(settings)[1]["reasons"] == ["Version 3 was taken out of service: Complaints."]
    assert registry.alias_version(NAME, CHAMPION) == "2"


def test_what_was_not_blessed_does_not(settings: Settings, register: Callable[..., str]) -> None:
    register(is_good=False)
    assert look(settings)[1]["reasons"] == [
        "Version 1 is not blessed: The AUC is 0.612, at least 0.700 is wanted."
    ]
    register(run_id="another-place")
    assert look(settings)[1]["reasons"] == ["What version 2 was judged by is no longer on record."]
    assert open_registry(settings).alias_version(NAME, CHAMPION) is None


def test_nothing_is_registered(settings: Settings) -> None:
    assert look(settings)[1]["reasons"] == ["No version waits."]


@pytest.mark.parametrize(
    ("standing", "objection"),
    [
        (Standing("2", "1", 1, 2, 0.1), "Version 2 is on trial with 10% of the callers."),
        (Standing("2", "1", 1), "Version 2 is not in service."),
        (Standing("2", None), "Version 2 is not in service."),
        (Standing("2", "1", 2), ""),
    ],
)
def test_versions_that_are_not_in_service(standing: Standing, objection: str) -> None:
    assert standing.objection == objection
