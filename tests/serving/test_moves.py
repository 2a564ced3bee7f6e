"""Moves from end to end: the files, the document, the journal, the registry's alias."""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from learnloop.errors import CorruptArtifact, LearnLoopError, UsageError
from learnloop.ledger import open_ledger
from learnloop.ledger.journal import read_journal
from learnloop.settings import Settings
from serving import retention
from serving.configs import MODELS, ROLLOUT
from serving.moves import MLFLOW_VERSION, Mover
from serving.registry import CHAMPION, Aliases
from serving.state import Rollout
from tests.serving.small_models import publication


@pytest.fixture
def mover(settings: Settings) -> Mover:
    return Mover(settings.model_copy(update={"serving_poll": 0.0}), "ada")


def push(mover: Mover, tmp_path: Path, *versions: int, weight: float = 0.0) -> None:
    for version in versions:
        mover.push("dense", publication(tmp_path, version), weight=weight, why="a test")


def told(mover: Mover) -> tuple[list[int], dict[str, int]]:
    """What the server's configuration says, read as a server reads it."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    text = (mover.settings.serving_folder / MODELS).read_text()
    parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (config,) = parsed.model_config_list.config
    return list(config.model_version_policy.specific.versions), dict(config.version_labels)


def journal(mover: Mover, kind: str = "serving") -> list[dict[str, Any]]:
    entries = read_journal(open_ledger(mover.settings.ledger_url), kind, "dense")
    assert {entry.actor for entry in entries} <= {"ada"}
    return [dict(entry.document) for entry in entries]


def state(stable: int, canary: int | None = None, weight: float = 0.0) -> dict[str, Any]:
    return {"stable": stable, "canary": canary, "weight": weight}


def test_every_move_reaches_servers_and_the_journal(mover: Mover, tmp_path: Path) -> None:
    push(mover, tmp_path, 1)
    assert told(mover) == ([1], {"stable": 1, "canary": 1})
    push(mover, tmp_path, 2)
    assert told(mover) == ([1, 2], {"stable": 2, "canary": 2})
    push(mover, tmp_path, 3, weight=0.1)
    assert told(mover) == ([1, 2, 3], {"stable": 2, "canary": 3})
    mover.try_out("dense", 3, 0.5, "it does well")
    mover.promote("dense", "it is better")
    assert told(mover) == ([2, 3], {"stable": 3, "canary": 3})
    mover.roll_back("dense", "complaints")
    assert told(mover) == ([1, 2], {"stable": 2, "canary": 2})
    mover.roll_back("dense", "more complaints", to=1)
    assert told(mover) == ([1], {"stable": 1, "canary": 1})
    assert journal(mover) == [
        {"move": "push", "from": None, "to": state(1), "why": "a test", "version": 1},
        {"move": "push", "from": state(1), "to": state(2), "why": "a test", "version": 2},
        {"move": "push", "from": state(2), "to": state(2, 3, 0.1), "why": "a test", "version": 3},
        {
            "move": "canary",
            "from": state(2, 3, 0.1),
            "to": state(2, 3, 0.5),
            "why": "it does well",
        },
        {"move": "promote", "from": state(2, 3, 0.5), "to": state(3), "why": "it is better"},
        {
            "move": "rollback",
            "from": state(3),
            "to": state(2),
            "why": "complaints",
            "evidence": {},
        },
        {
            "move": "rollback",
            "from": state(2),
            "to": state(1),
            "why": "more complaints",
            "evidence": {},
        },
    ]
    assert mover.place.read().unrecorded == ()


def test_what_moves_nothing_is_no_move(mover: Mover, tmp_path: Path) -> None:
    push(mover, tmp_path, 1, 2)
    push(mover, tmp_path, 2, 1)
    mover.roll_back("dense", "it is there already", to=2)
    assert len(journal(mover)) == 2


def test_a_ledger_that_is_away_delays_the_record_not_the_rollback(
    mover: Mover, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    push(mover, tmp_path, 1, 2)
    away = Mover(
        mover.settings.model_copy(
            update={"ledger": "postgresql+psycopg2://ada:secret@127.0.0.1:1/ledger"}
        ),
        "ada",
    )
    assert away.roll_back("dense", "complaints").stable == 1
    assert told(mover)[1]["stable"] == 1
    assert caplog.messages == [
        "The journal lacks 1 entries until the next move: The ledger cannot be opened."
    ]
    assert len(journal(mover)) == 2
    mover.try_out("dense", 2, 0.1, "once more")
    assert [one["move"] for one in journal(mover)] == ["push", "push", "rollback", "canary"]
    assert "secret" not in (mover.settings.serving_folder / ROLLOUT).read_text()


@pytest.mark.parametrize("cut", ["before the configuration", "before the journal"])
def test_a_rollback_that_was_cut_short_is_finished_not_repeated(
    mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    push(mover, tmp_path, 1, 2, 3)
    from serving.places.folder import FolderPlace

    write = FolderPlace._write

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    def write_or_die(self: FolderPlace, name: str, text: str) -> None:
        if name == MODELS:
            die()
        write(self, name, text)

    with monkeypatch.context() as patch:
        if cut == "before the configuration":
            patch.setattr(FolderPlace, "_write", write_or_die)
        else:
            patch.setattr(Mover, "_record", die)
        with pytest.raises(KeyboardInterrupt):
            mover.roll_back("dense", "complaints")
    assert mover.roll_back("dense", "complaints").stable == 2, "and not 1"
    assert told(mover) == ([1, 2], {"stable": 2, "canary": 2})
    assert [one["move"] for one in journal(mover)] == ["push"] * 3 + ["rollback"]
    assert mover.roll_back("dense", "and further").stable == 1


def test_damaged_files_are_never_put_into_service(mover: Mover, tmp_path: Path) -> None:
    push(mover, tmp_path, 1, 2)
    folder = mover.settings.serving_folder
    (folder / "dense" / "1" / "variables" / "variables.index").unlink()
    problem = f"{folder}/dense/1/variables/variables.index is not as it was published."
    for move in (
        lambda: mover.roll_back("dense", "complaints"),
        lambda: mover.try_out("dense", 1, 0.1, "why"),
    ):
        with pytest.raises(CorruptArtifact) as caught:
            move()
        assert str(caught.value) == (
            "Version 1 of 'dense' cannot be put into service.\n"
            f"  where:    {folder}\n"
            "  expected: every file as it was published\n"
            f"  received: {problem}\n"
            "  next:     move the version's folder away and push it again"
        )
    assert told(mover)[1]["stable"] == 2


def test_a_name_that_fits_no_url_is_refused(mover: Mover, tmp_path: Path) -> None:
    for name in ("", "../dense", "a/b", "a b", ".hidden"):
        with pytest.raises(UsageError, match="A model's name is a part of paths and of URLs."):
            mover.push(name, publication(tmp_path, 1), why="a test")
    assert not mover.settings.serving_folder.exists()


def test_servers_get_the_time_to_load_before_a_label_moves(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = Mover(settings.model_copy(update={"serving_poll": 0.3}), "ada")
    push(mover, tmp_path, 1)
    from serving.places.folder import FolderPlace

    write, seen = FolderPlace._write, []

    def note(self: FolderPlace, name: str, text: str) -> None:
        write(self, name, text)
        if name == MODELS:
            told_at = self.read().model("dense").told_at
            seen.append((told(mover), datetime.fromisoformat(told_at)))

    monkeypatch.setattr(FolderPlace, "_write", note)
    push(mover, tmp_path, 2)
    (loading, began), (pointing, ended) = seen
    assert loading == ([1, 2], {"stable": 1, "canary": 1})
    assert pointing == ([1, 2], {"stable": 2, "canary": 2})
    assert (ended - began).total_seconds() >= 0.3


def tell_at(mover: Mover, moment: datetime) -> None:
    """Have servers told at another time what they are told."""

    def change(rollout: Rollout) -> Rollout:
        model = dataclasses.replace(rollout.model("dense"), told_at=moment.isoformat())
        return rollout.with_model("dense", model)

    mover.place.change(change)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_while_servers_load_holds_nothing_up(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    mover = Mover(settings.model_copy(update={"serving_poll": 60.0}), "ada")
    push(mover, tmp_path, 1)
    slept = []

    def jump(seconds: float) -> None:
        slept.append(seconds)
        tell_at(mover, datetime.now(UTC) + timedelta(hours=hours))

    monkeypatch.setattr("serving.moves.time.sleep", jump)
    push(mover, tmp_path, 2)
    assert told(mover) == ([1, 2], {"stable": 2, "canary": 2})
    (seconds,) = slept
    assert 0 < seconds <= 60


def test_a_rollback_to_the_version_before_waits_for_nothing(
    mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(mover, tmp_path, 1, 2)
    tell_at(mover, datetime.now(UTC) - timedelta(hours=1))
    patient = Mover(mover.settings.model_copy(update={"serving_poll": 60.0}), "ada")
    monkeypatch.setattr("serving.moves.time.sleep", lambda seconds: pytest.fail("it waited"))
    assert patient.roll_back("dense", "complaints").stable == 1
    assert told(mover) == ([1], {"stable": 1, "canary": 1})


# Retention


def test_old_versions_go_after_the_grace_period(
    mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(mover, tmp_path, *range(1, 8))
    folder = mover.settings.serving_folder / "dense"
    assert sorted(int(path.name) for path in folder.iterdir()) == list(range(1, 8))
    monkeypatch.setattr(retention, "GRACE", timedelta(0))
    assert mover.retain("dense") == [1, 2]
    assert mover.retain("dense") == []
    assert sorted(int(path.name) for path in folder.iterdir()) == list(range(3, 8))
    last = journal(mover)[-1]
    assert (last["move"], last["versions"]) == ("remove", [1, 2])
    assert mover.place.read().model("dense").earlier == (3, 4, 5, 6)


def test_a_removal_that_was_cut_short_is_finished(
    mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(mover, tmp_path, *range(1, 8))
    monkeypatch.setattr(retention, "GRACE", timedelta(0))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("serving.places.folder.FolderPlace.remove", die)
        with pytest.raises(KeyboardInterrupt):
            mover.retain("dense")
    with pytest.raises(UsageError, match="Version 1 of 'dense' is not published."):
        mover.try_out("dense", 1, 0.1, "it is about to go")
    push(mover, tmp_path, 8)
    left = sorted(int(path.name) for path in (mover.settings.serving_folder / "dense").iterdir())
    assert left == list(range(4, 9))


def test_labelled_versions_stay_however_old(
    mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(mover, tmp_path, 1, 2)
    push(mover, tmp_path, *range(3, 9), weight=0.1)
    monkeypatch.setattr(retention, "GRACE", timedelta(0))
    mover.retain("dense")
    model = mover.place.read().model("dense")
    assert (model.stable, model.canary) == (2, 8)
    assert sorted(model.published) == [1, 2, 4, 5, 6, 7, 8]


# The registry


@pytest.fixture(scope="module")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with three versions of a model; making one takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client = Aliases(f"sqlite:///{path}").client()
    client.create_registered_model("dense")
    for _ in range(3):
        client.create_model_version("dense", "s3://nowhere/at-all")
    return path


@pytest.fixture
def registered(mover: Mover, mlflow_database: Path, tmp_path: Path) -> Mover:
    copy = tmp_path / "mlflow.db"
    shutil.copy(mlflow_database, copy)
    return Mover(mover.settings.model_copy(update={"mlflow": f"sqlite:///{copy}"}), "ada")


def push_registered(mover: Mover, tmp_path: Path, version: int, weight: float = 0.0) -> None:
    lineage = {MLFLOW_VERSION: str(version)}
    mover.push("dense", publication(tmp_path, version, lineage=lineage), weight=weight, why="x")


def champion(mover: Mover) -> str | None:
    return Aliases(mover.settings.mlflow_uri).alias_version("dense", CHAMPION)


def test_the_champion_moves_with_a_promotion_and_back(registered: Mover, tmp_path: Path) -> None:
    push_registered(registered, tmp_path, 1)
    push_registered(registered, tmp_path, 2, 0.1)
    assert champion(registered) is None, "only a promotion moves it"
    registered.promote("dense", "better")
    assert champion(registered) == "2"
    registered.roll_back("dense", "worse")
    assert champion(registered) == "1"
    assert journal(registered, CHAMPION) == [
        {"from": None, "to": "2", "why": "better"},
        {"from": "2", "to": "1", "why": "worse"},
    ]


def test_a_rollback_leaves_a_champion_of_another_version_alone(
    registered: Mover, tmp_path: Path
) -> None:
    for version in (1, 2, 3):
        push_registered(registered, tmp_path, version)
    Aliases(registered.settings.mlflow_uri).set_alias("dense", CHAMPION, "1")
    registered.roll_back("dense", "worse")
    assert champion(registered) == "1"
    assert journal(registered, CHAMPION) == []


def test_without_a_registry_nothing_is_promoted_but_everything_rolled_back(
    registered: Mover, tmp_path: Path
) -> None:
    push_registered(registered, tmp_path, 1)
    push_registered(registered, tmp_path, 2, 0.1)
    unreachable = "postgresql+psycopg2://ada:secret@127.0.0.1:1/mlflow"
    away = Mover(registered.settings.model_copy(update={"mlflow": unreachable}), "ada")
    with pytest.raises(LearnLoopError) as caught:
        away.promote("dense", "better")
    assert caught.value.what == "The model registry's database did not answer."
    assert "secret" not in str(caught.value)
    assert told(registered)[1] == {"stable": 1, "canary": 2}
    registered.promote("dense", "better")
    with pytest.raises(LearnLoopError, match="The model registry's database did not answer."):
        away.roll_back("dense", "worse")
    assert told(registered)[1] == {"stable": 1, "canary": 1}
    registered.roll_back("dense", "worse", to=1)
    assert champion(registered) == "1", "the same command again moves what was left"


def test_a_model_from_elsewhere_has_no_champion(registered: Mover, tmp_path: Path) -> None:
    push(registered, tmp_path, 1)
    push(registered, tmp_path, 2, weight=0.1)
    registered.promote("dense", "better")
    assert champion(registered) is None
    entries = json.loads(json.dumps(journal(registered)))
    assert entries[-1]["to"] == state(2)
