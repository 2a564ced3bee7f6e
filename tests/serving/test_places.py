"""Publishing to a folder and to S3: one suite for both, then what is each one's own."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from learnloop.errors import LearnLoopError, UsageError
from learnloop.settings import Settings
from serving.configs import BATCHING, MODELS, MONITORING, ROLLOUT, TRACKS, models_configs
from serving.places import Place, open_place
from serving.places.folder import FolderPlace
from serving.publish import MANIFEST, Publication
from serving.state import ModelRollout, Rollout
from tests.fault_proxy import every, fault_proxy
from tests.serving.small_models import publication, saved_model

ROOT = Path(__file__).parents[2]
BUCKET = "models"

NewPlace = Callable[[], Place]


def make_bucket() -> None:
    from learnloop.store.connection import client

    names = {bucket["Name"] for bucket in client().list_buckets()["Buckets"]}
    if BUCKET not in names:
        client().create_bucket(Bucket=BUCKET)


def on_s3(settings: Settings) -> Settings:
    make_bucket()
    location = f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}/served"
    return settings.model_copy(update={"serving": location, "serving_mount": "s3://seen/here"})


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, settings: Settings) -> Place:
    if request.param == "folder":
        return open_place(settings)
    request.getfixturevalue("s3_endpoint")
    return open_place(on_s3(settings))


def with_stable(name: str, version: int) -> Callable[[Rollout], Rollout]:
    return lambda rollout: rollout.with_model(name, ModelRollout(stable=version).tell(0.0))


def read_file(place: Place, name: str) -> str:
    if isinstance(place, FolderPlace):
        return (place.folder / name).read_text()
    from learnloop.store.connection import read_object

    bucket, _, prefix = place.location.removeprefix("s3://").partition("/")
    return read_object(bucket, f"{prefix}/{name}").decode()


def damage(place: Place, name: str) -> None:
    if isinstance(place, FolderPlace):
        (place.folder / name).write_text("damaged")
        return
    from learnloop.store.connection import client

    bucket, _, prefix = place.location.removeprefix("s3://").partition("/")
    client().put_object(
        Bucket=bucket, Key=f"{prefix}/{name}", Body=b"damaged", ChecksumAlgorithm="SHA256"
    )


def test_a_version_is_there_with_a_digest_of_every_file(place: Place, tmp_path: Path) -> None:
    lineage = {"mlflow_version": "4", "mlflow_run_id": "abc"}
    published = place.publish("dense", publication(tmp_path, 4, lineage=lineage))
    assert published.location == f"{place.location}/dense/4"
    assert published.manifest["lineage"] == lineage
    assert sorted(published.manifest["files"]) == [
        "assets/vocabulary.txt",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    assert place.find("dense", 4) == published
    assert place.why_not_as_published("dense", 4) == ""
    assert place.find("dense", 5) is None
    assert place.why_not_as_published("dense", 5) == f"{place.location}/dense/5 is not there."


def test_publishing_again_changes_nothing(place: Place, tmp_path: Path) -> None:
    first = place.publish("dense", publication(tmp_path, 4, lineage={"run_id": "a"}))
    second = place.publish("dense", publication(tmp_path, 4, lineage={"run_id": "b"}))
    assert first == second


def test_another_model_under_the_same_number_is_refused(place: Place, tmp_path: Path) -> None:
    place.publish("dense", publication(tmp_path, 4))
    with pytest.raises(UsageError) as caught:
        place.publish("dense", publication(tmp_path, 4, "something else"))
    where = f"{place.location}/dense/4"
    assert str(caught.value) == (
        "This version number is taken by something else.\n"
        f"  where:    {where}\n"
        "  expected: no folder, or the same model with its manifest\n"
        f"  received: {where} holds another model.\n"
        f"  next:     move {where} away, then run the same command again"
    )


def test_damage_is_noticed(place: Place, tmp_path: Path) -> None:
    place.publish("dense", publication(tmp_path, 4))
    damage(place, "dense/4/variables/variables.index")
    problem = f"{place.location}/dense/4/variables/variables.index is not as it was published."
    assert place.why_not_as_published("dense", 4) == problem
    with pytest.raises(UsageError, match="This version number is taken by something else."):
        place.publish("dense", publication(tmp_path, 4))


def test_a_removed_version_is_gone_and_may_come_back(place: Place, tmp_path: Path) -> None:
    for version in (4, 40):
        place.publish("dense", publication(tmp_path, version))
    place.remove("dense", 4)
    place.remove("dense", 4)
    assert place.find("dense", 4) is None
    assert place.why_not_as_published("dense", 40) == "", "4 is not the beginning of 40"
    place.publish("dense", publication(tmp_path, 4))
    assert place.why_not_as_published("dense", 4) == ""


def test_files_are_made_from_the_document(place: Place) -> None:
    assert place.read() == Rollout()
    after = place.change(with_stable("dense", 3))
    assert place.read() == after
    assert json.loads(read_file(place, ROLLOUT))["models"]["dense"]["stable"] == 3
    mount = place.mount  # type: ignore[attr-defined]
    for name, text in models_configs(after, mount).items():
        assert read_file(place, name) == text
    assert place.is_current()
    assert "max_batch_size" in read_file(place, BATCHING)
    assert "prometheus_config" in read_file(place, MONITORING)


def test_what_an_operator_changed_stays_except_what_is_generated(place: Place) -> None:
    place.change(with_stable("dense", 3))
    for name in (BATCHING, MONITORING):
        damage(place, name)
    for name in (MODELS, *TRACKS.values()):
        damage(place, name)
        assert not place.is_current()
        place.change(lambda rollout: rollout)
        assert place.is_current()
    assert read_file(place, BATCHING) == read_file(place, MONITORING) == "damaged"


def test_of_writers_at_once_none_is_lost(place: Place) -> None:
    faults: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for version in range(1, 4):
                place.change(with_stable(f"model-{number}", version))
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert faults == []
    stable = {name: model.stable for name, model in place.read().models.items()}
    assert stable == {f"model-{number}": 3 for number in range(4)}
    assert place.is_current(), "the file is made from the last document, not from an earlier one"


def test_a_document_that_cannot_be_read_is_never_written_over(place: Place) -> None:
    place.change(with_stable("dense", 3))
    damage(place, ROLLOUT)
    with pytest.raises(LearnLoopError, match="The document of what is rolled out cannot be read."):
        place.change(with_stable("dense", 4))
    assert read_file(place, ROLLOUT) == "damaged"


# A folder


def test_readers_never_see_half_a_file(settings: Settings) -> None:
    """The document and the configuration are replaced by renames while somebody reads them."""
    place = open_place(settings)
    place.change(with_stable("dense", 1))
    folder = Path(place.location)
    texts: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            texts.append((folder / MODELS).read_text())
            json.loads((folder / ROLLOUT).read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(2, 40):
        place.change(with_stable("dense", version))
    done.set()
    reader.join(60)
    assert texts
    assert all(text.startswith("# Made from") and text.endswith("}\n}\n") for text in texts)
    left = {path.name for path in folder.iterdir()}
    assert left == {ROLLOUT, MODELS, *TRACKS.values(), BATCHING, MONITORING, ".rollout.lock"}


def test_a_removal_is_a_rename_first(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_place(settings)
    place.publish("dense", publication(tmp_path, 4))
    seen: list[list[str]] = []

    def look(folder: Path, ignore_errors: bool) -> None:
        seen.append([path.name[:10] for path in folder.parent.iterdir()])

    monkeypatch.setattr("serving.places.folder.shutil.rmtree", look)
    place.remove("dense", 4)
    assert seen == [[".removing-"]]


def test_what_a_killed_process_left_behind_goes_in_the_end(
    settings: Settings, tmp_path: Path
) -> None:
    place = open_place(settings)
    place.publish("dense", publication(tmp_path, 4))
    base = Path(place.location) / "dense"
    for name, age in ((".incoming-5-old", 90_000), (".incoming-6-new", 60)):
        (base / name).mkdir()
        os.utime(base / name, (base.stat().st_mtime - age,) * 2)
    place.remove("dense", 4)
    assert [path.name for path in base.iterdir()] == [".incoming-6-new"]


# S3

UPLOADING = """
import sys, pathlib
from learnloop.settings import Settings
from serving.places import open_place
from serving.publish import Publication
open_place(Settings()).publish("dense", Publication(pathlib.Path(sys.argv[1]), 5, "five", {}))
"""


@pytest.mark.parametrize("after", [1, 3, 5, 9])
def test_a_kill_in_between_leaves_nothing_served(
    settings: Settings,
    s3_endpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    """The process dies after so many requests: no manifest, no configuration, and a new attempt."""
    chosen = on_s3(settings)
    place = open_place(chosen)
    place.publish("dense", publication(tmp_path, 4))
    place.change(with_stable("dense", 4))
    served = read_file(place, MODELS)
    model = saved_model(tmp_path / "five", "five")
    with fault_proxy(s3_endpoint) as proxy:
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": proxy.url,
            "LEARNLOOP_SERVING": chosen.serving,
            "PYTHONPATH": str(ROOT),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", UPLOADING, str(model)], env=environment, start_new_session=True
        )
        puts = 0

        def kill(method: str, path: str) -> str:
            nonlocal puts
            puts += method == "PUT"
            if puts >= after or (method == "PUT" and MANIFEST in path):
                process.send_signal(signal.SIGKILL)
                return "cut upload"
            return ""

        proxy.fault = kill
        assert process.wait(120) == -signal.SIGKILL
    assert place.find("dense", 5) is None
    assert read_file(place, MODELS) == served
    again = place.publish("dense", Publication(model, 5, "five", {}))
    assert place.why_not_as_published("dense", 5) == ""
    assert again.manifest["digest"] == "five"


def test_what_an_attempt_before_left_there_does_not_stay(
    settings: Settings, s3_endpoint: str, tmp_path: Path
) -> None:
    place = open_place(on_s3(settings))
    damage(place, "dense/4/variables/variables.data-00000-of-00002")
    published = place.publish("dense", publication(tmp_path, 4))
    assert place.why_not_as_published("dense", 4) == ""
    assert "variables/variables.data-00000-of-00002" not in published.manifest["files"]


def test_a_bucket_that_fails_one_request_in_three_gets_all_of_it(
    settings: Settings, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = on_s3(settings)
    with fault_proxy(s3_endpoint) as proxy:
        proxy.fault = every(3)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        place = open_place(chosen)
        for version in (4, 5):
            place.publish("dense", publication(tmp_path, version))
            place.change(with_stable("dense", version))
        assert proxy.failed > 5
        proxy.fault = lambda method, path: ""
        assert place.why_not_as_published("dense", 4) == ""
        assert place.why_not_as_published("dense", 5) == ""
        assert place.read().models["dense"].stable == 5
        assert place.is_current()


def test_objects_that_arrive_changed_are_not_published(
    settings: Settings, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were S3 to keep other bytes than were sent, the checksum would tell, before the manifest."""
    place = open_place(on_s3(settings))
    upload = type(place)._upload

    def upload_and_damage(self: Place, *arguments: object) -> None:
        upload(self, *arguments)  # type: ignore[arg-type]
        damage(place, "dense/4/saved_model.pb")

    monkeypatch.setattr(type(place), "_upload", upload_and_damage)
    with pytest.raises(LearnLoopError) as caught:
        place.publish("dense", publication(tmp_path, 4))
    assert caught.value.what == "S3 does not hold what was uploaded."
    assert place.find("dense", 4) is None


def test_a_bucket_that_is_not_there_is_told(settings: Settings, s3_endpoint: str) -> None:
    missing = settings.model_copy(update={"serving": "s3://nobody-made-this/models"})
    with pytest.raises(UsageError, match="There is no bucket 'nobody-made-this'."):
        open_place(missing)
    with pytest.raises(UsageError) as caught:
        _ = missing.serving_folder
    assert str(caught.value) == (
        "Models are published to S3 here, and this needs a folder.\n"
        "  where:    the setting 'serving'\n"
        "  expected: a folder\n"
        "  received: s3://nobody-made-this/models\n"
        "  next:     set LEARNLOOP_SERVING to a folder"
    )


def test_the_configuration_names_the_place_as_servers_see_it(settings: Settings) -> None:
    place = open_place(settings.model_copy(update={"serving_mount": "/models"}))
    place.change(with_stable("dense", 3))
    assert 'base_path: "/models/dense"' in read_file(place, MODELS)
    moved = dataclasses.replace(place, mount="/elsewhere")  # type: ignore[type-var]
    assert not moved.is_current()
